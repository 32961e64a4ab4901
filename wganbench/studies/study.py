"""A study: what it claims, how it is measured, and the registry of all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from wganbench.config import compose, run_id
from wganbench.config.jobs import Job
from wganbench.errors import ConfigError
from wganbench.files import write_atomic
from wganbench.registry import Registry
from wganbench.runs.folder import RunFolder, wait_while_ending
from wganbench.studies.settings import Settings
from wganbench.studies.verdicts import Claim, Evidence
from wganbench.sweeps.backend import Watcher
from wganbench.sweeps.choose import make_backend
from wganbench.sweeps.launch import launch, plan_sweep
from wganbench.training.run import Run, load_run


# What a study is given to measure with: settings, ordinary runs, a memory.
class Interrupted(Exception):
    """A signal stopped the runs of a study; what they reached is saved."""


@dataclass(frozen=True)
class Context:
    """A study's settings and its folder; ``say`` tells a person what is being done."""

    study: str
    version: int
    folder: Path
    settings: Settings
    watcher: Watcher

    def __getitem__(self, key: str) -> Any:
        """A setting of the study."""
        return self.settings.values[key]

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.settings.seeds

    def say(self, line: str) -> None:
        self.watcher.say(line)

    def train(
        self, arms: Mapping[str, Sequence[str]], seeds: Mapping[str, Sequence[int]] | None = None
    ) -> dict[str, list[Run]]:
        """Ordinary runs: each arm's overrides with each seed, in stacks; one run a seed.

        ``seeds`` names those of an arm where they are not all of the study's.

        What is finished already is not trained again. Runs that diverged are among them:
        ask ``run.status``. Raises ConfigError for overrides that are wrong, `Interrupted`
        when a signal stopped the training.
        """
        folder = self.folder / "runs"
        own = {name: tuple((seeds or {}).get(name, self.seeds)) for name in arms}
        jobs = [job for name, arm in arms.items() for job in self._jobs(folder, arm, own[name])]
        # Two arms may contain the same run: it is trained once.
        distinct = list({job.folder: job for job in jobs}.values())
        wait_while_ending([RunFolder(job.folder) for job in distinct], self.say)
        outcomes = launch(folder, distinct, self.watcher, plan_sweep(distinct, make_backend()))
        failed = [o for o in outcomes if o.status not in ("completed", "diverged")]
        if any(outcome.status in ("interrupted", "running") for outcome in failed):
            raise Interrupted(f"the runs of {self.study} were interrupted")
        if failed:
            raise ConfigError(f"{failed[0].path} failed: {' '.join(failed[0].verdict)}")
        runs = iter([load_run(job.folder) for job in jobs])
        return {name: [next(runs) for _ in own[name]] for name in arms}

    def _jobs(self, folder: Path, overrides: Sequence[str], seeds: Sequence[int]) -> list[Job]:
        place = [f"output_dir={folder.parent}", f"name={folder.name}"]
        always = [f"device={self.settings.device}", "log.figure=false"]
        config = compose([*always, *overrides, *place])
        configs = [dataclasses.replace(config, seed=seed) for seed in seeds]
        return [Job(one, folder / run_id(one), (*overrides, f"seed={one.seed}")) for one in configs]

    def remember(self, name: str, about: Mapping[str, Any], compute: Callable[[], Any]) -> Any:
        """What ``compute`` gives, from the disk where it was computed before.

        ``about`` is all that the result depends on beside the code; the result is what JSON
        can hold. So a study that was killed goes on with the part in which it was.
        """
        key = {"study": self.study, "version": self.version, "about": about}
        text = json.dumps(key, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        file = self.folder / "parts" / f"{name}-{digest}.json"
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            pass
        result = json.loads(json.dumps(compute()))
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps(result).encode())
        return result


Cell = str | float | int | None


@dataclass(frozen=True)
class Findings:
    """What a study measured: evidence by the claim's name, a table, figures, paragraphs.

    ``rows`` all have the same keys, the columns of table.csv. ``figures`` by file name
    without ending; the first is called ``figure``. ``text`` says in sentences what was seen,
    with its numbers, and what was not.
    """

    evidence: Mapping[str, Evidence]
    rows: Sequence[Mapping[str, Cell]]
    figures: Mapping[str, Figure]
    text: Sequence[str]


@dataclass(frozen=True)
class Study:
    """A row of the registry.

    ``differs`` says what is as in the source and what is not. ``protects``: keys of a run's
    configuration that somebody may want to change and that would void the study's meaning,
    with the reason. Settings stand in conf/study/<name>.yaml. Raise ``version`` when the
    measurement changes: what was remembered is then computed anew.
    """

    name: str
    question: str
    claims: Sequence[Claim]
    measure: Callable[[Context], Findings]
    differs: str
    protects: Mapping[str, str] = field(default_factory=dict)
    version: int = 1


STUDIES: Registry[Study] = Registry("studies")


def register_study(study: Study) -> Study:
    """Enter a study; raises ValueError for a taken name or claims with equal names."""
    names = [claim.name for claim in study.claims]
    if len(set(names)) < len(names):
        raise ValueError(f"study {study.name!r} has two claims of one name")
    STUDIES.register(study.name, study)
    return study
