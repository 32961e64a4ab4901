"""A study: its claims, its measurement, and the registry of all studies."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from wganbench.config import run_id
from wganbench.config.jobs import Job, compose_all
from wganbench.files import inside, read_regular, write_atomic
from wganbench.registry import Registry
from wganbench.studies.settings import Settings
from wganbench.studies.verdicts import Claim, Evidence
from wganbench.sweeps.backend import Watcher
from wganbench.sweeps.launch import train_all
from wganbench.training.run import Run, load_run


# The tools of a study's measurement: settings, ordinary runs, and a cache of results.
@dataclass(frozen=True)
class Context:
    """A study's settings and folder; ``say`` shows the user a line about the progress."""

    study: str
    version: int
    folder: Path
    settings: Settings
    watcher: Watcher

    def __getitem__(self, key: str) -> Any:
        """Return a setting of the study."""
        return self.settings.values[key]

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.settings.seeds

    def say(self, line: str) -> None:
        self.watcher.say(line)

    def train(
        self, arms: Mapping[str, Sequence[str]], seeds: Mapping[str, Sequence[int]] | None = None
    ) -> dict[str, list[Run]]:
        """Train ordinary runs in stacks, one for each arm and seed; return them by arm.

        ``seeds`` gives the seeds of an arm if they are not all of the study's. Finished runs are
        not trained again. The result includes diverged runs: check ``run.status``. Raises
        ConfigError for wrong overrides and for a run that failed, `Interrupted` if a signal
        stopped the training.
        """
        folder = self.folder / "runs"
        own = {name: tuple((seeds or {}).get(name, self.seeds)) for name in arms}
        jobs = self._jobs(folder, arms, own)
        train_all(folder, jobs, self.watcher)
        runs = iter([load_run(job.folder) for job in jobs])
        return {name: [next(runs) for _ in own[name]] for name in arms}

    def _jobs(
        self, folder: Path, arms: Mapping[str, Sequence[str]], seeds: Mapping[str, Sequence[int]]
    ) -> list[Job]:
        """Return the jobs of all arms in order, those of an arm by seed. Raises ConfigError."""
        place = [f"output_dir={folder.parent}", f"name={folder.name}"]
        always = [f"device={self.settings.device}", "log.figure=false"]
        configs = compose_all([[*always, *overrides, *place] for overrides in arms.values()])
        return [
            Job(one, folder / run_id(one), (*overrides, f"seed={seed}"))
            for (name, overrides), config in zip(arms.items(), configs, strict=True)
            for seed in seeds[name]
            for one in [dataclasses.replace(config, seed=seed)]
        ]

    def remember(self, name: str, about: Mapping[str, Any], compute: Callable[[], Any]) -> Any:
        """Return the result of ``compute``, read from the disk if it was computed before.

        ``about`` holds all inputs of the result; the result must be plain data for JSON. A study
        that was killed thus continues with its unfinished part.
        """
        key = {"study": self.study, "version": self.version, "about": about}
        text = json.dumps(key, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        file = inside(self.folder, f"parts/{name}-{digest}.json")
        try:
            return json.loads(read_regular(file))
        except (OSError, ValueError, RecursionError):
            pass
        result = json.loads(json.dumps(compute()))
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps(result).encode())
        return result


Cell = str | float | int | None


@dataclass(frozen=True)
class Findings:
    """The results of a study: evidence by the claim's name, a table, figures, paragraphs.

    All ``rows`` have the same keys, the columns of table.csv. ``figures`` are by file name
    without ending; the first is named ``figure``. ``text`` describes the results and their limits
    in sentences with numbers.
    """

    evidence: Mapping[str, Evidence]
    rows: Sequence[Mapping[str, Cell]]
    figures: Mapping[str, Figure]
    text: Sequence[str]


@dataclass(frozen=True)
class Study:
    """A row of the registry; its settings are in conf/study/<name>.yaml.

    ``differs`` states which parts are as in the source and which are not. ``protects`` lists keys
    of a run's configuration whose change would void the study, with the reason. Increase
    ``version`` when the measurement changes: cached results are then computed again. Increase
    ``rule`` when what is concluded from the same measurements changes.

    One claim is marked as primary; the only claim of a study is primary unmarked. Raises
    ValueError for claims with equal names, and unless one claim is primary.
    """

    name: str
    question: str
    claims: Sequence[Claim]
    measure: Callable[[Context], Findings]
    differs: str
    protects: Mapping[str, str] = field(default_factory=dict)
    version: int = 1
    rule: int = 1

    def __post_init__(self) -> None:
        names = [claim.name for claim in self.claims]
        if len(set(names)) < len(names):
            raise ValueError(f"study {self.name!r} has two claims of one name")
        if len(names) == 1:
            only = dataclasses.replace(self.claims[0], primary=True)
            object.__setattr__(self, "claims", (only,))
        marked = sum(claim.primary for claim in self.claims)
        if marked != 1:
            raise ValueError(
                f"study {self.name!r}: mark one claim with primary=True; {marked} are marked"
            )


STUDIES: Registry[Study] = Registry("studies")


def register_study(study: Study) -> Study:
    """Enter a study; raises ValueError for a taken name."""
    STUDIES.register(study.name, study)
    return study


def finite(value: float) -> float | None:
    """Return a number that JSON can hold; None if it is not finite."""
    return float(value) if math.isfinite(value) else None


LEAST_SIZE = 1e-300
"""Stands for a gradient of zero, which has no logarithm."""


def log10(size: float) -> float:
    """Return the decimal logarithm of a size; 0 counts as `LEAST_SIZE`.

    >>> log10(100.0), round(log10(0.0))
    (2.0, -300)
    """
    return math.log10(max(size, LEAST_SIZE))
