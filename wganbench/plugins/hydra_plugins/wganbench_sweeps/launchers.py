"""The launchers: Hydra makes each job's folder, then all jobs are trained together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

if TYPE_CHECKING:
    from wganbench.config.jobs import Choice, SweepTask


class StackLauncher(Launcher):
    """Trains the jobs as stacks over the local devices."""

    name: ClassVar[str] = "stack"

    def __init__(self, **settings: Any) -> None:
        plain = OmegaConf.to_container(OmegaConf.create(settings))
        self.choice: Choice = (self.name, cast("dict[str, Any]", plain))
        self.composed: dict[tuple[str, ...], DictConfig] = {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.master, self.task = (
            hydra_context,
            config,
            cast("SweepTask", task_function),
        )

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        setup_globals()
        returns = [
            self._prepare(tuple(overrides), initial_job_idx + i)
            for i, overrides in enumerate(job_overrides)
        ]
        jobs = [returned.return_value for returned in returns]
        objectives = self.task.launch(jobs, self.choice)
        for returned, objective in zip(returns, objectives, strict=True):
            returned.return_value = objective
        return returns

    def _prepare(self, overrides: tuple[str, ...], number: int) -> JobReturn:
        """Make the job's folder and .hydra/ as Hydra does; the result holds the job."""
        from wganbench.config.jobs import compose_jobs

        node = self.composed.get(overrides)
        if node is None:
            loader = self.context.config_loader
            (node,) = compose_jobs(loader, self.master, [overrides])
        with open_dict(node):
            node.hydra.job.id = node.hydra.job.num = number
        return run_job(
            hydra_context=self.context,
            task_function=self.task.job,
            config=node,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )


class RayLauncher(StackLauncher):
    """Trains the jobs as stacks on a Ray cluster."""

    name: ClassVar[str] = "ray"


class SlurmLauncher(StackLauncher):
    """Trains the jobs as stacks on a Slurm cluster."""

    name: ClassVar[str] = "slurm"
