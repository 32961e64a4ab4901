"""The sweeper: all combinations of values; it checks every job before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from wganbench.config.jobs import Choice, SweepTask


class GridSweeper(Sweeper):
    """Hydra's own sweeper and syntax, with all jobs checked before the sweep begins.

    Jobs with the same choice of groups are composed only once, and our launchers receive the
    composed jobs. ``params`` holds the sweeps in YAML files, such as an experiment's; the command
    line takes precedence.
    """

    def __init__(self, params: dict[str, Any] | None = None) -> None:
        self.params = params or {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from hydra.core.plugins import Plugins

        self.context, self.master, self.task = (
            hydra_context,
            config,
            cast("SweepTask", task_function),
        )
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from wganbench.config.jobs import compose_jobs, composed_job, expand
        from wganbench.files import inside

        loader = self.context.config_loader
        swept = [f"{key}={values}" for key, values in self.params.items()]
        jobs: Sequence[Sequence[str]] = expand(loader, [*swept, *arguments], self.task.limit)
        nodes = list(compose_jobs(loader, self.master, jobs))
        choice: Choice = getattr(self.launcher, "choice", ("stack", {}))
        if not self.task.accept([composed_job(self.task, node) for node in nodes], choice):
            return None
        folder = Path(self.master.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.master, inside(folder, "multirun.yaml"))
        if hasattr(self.launcher, "composed"):
            self.launcher.composed = {tuple(j): n for j, n in zip(jobs, nodes, strict=True)}
        return [self.launcher.launch(jobs, initial_job_idx=0)]
