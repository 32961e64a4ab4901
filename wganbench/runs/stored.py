"""Checks that a run's folder is writable, not locked, and empty or of the same run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wganbench import bounds
from wganbench.config.check import from_dict
from wganbench.config.schema import RunConfig, identity, run_folder, to_dict
from wganbench.data.contents import contents_digest
from wganbench.errors import ConfigError, UnwritableFolder, expanded, of_the_system, short_repr
from wganbench.files import UnusableFile, inside_regular
from wganbench.plugin_files import changed_plugins, plugin_digests
from wganbench.runs.folder import (
    HYDRAS_FILES,
    RunFolder,
    RunOutcome,
    outcome_of,
    versions,
    wait_while_ending,
)
from wganbench.runs.record import RUN_JSON, RunRecord, read_record

FORMAT = 3
"""To be raised when run folders of older versions can no longer be read."""

LONGEST_NAME = 255
"""Bytes of a file's name on today's file systems."""


def identifying(config: RunConfig) -> dict[str, Any]:
    """Return the first entries of run.json: format, versions, settings, digest of the data."""
    return {
        "format": FORMAT,
        "versions": versions(),
        "config": to_dict(config),
        "data_sha256": contents_digest(config.data.options, config.data.kind),
        **({"plugins": plugins} if (plugins := plugin_digests()) else {}),
    }


def stored_config(path: Path) -> RunConfig:
    """Return the configuration in run.json, with ``overwrite`` off, to resume the run.

    Raises ConfigError when it cannot be used.
    """
    try:
        stored = RunFolder(path).record()
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from error
    if stored.format == FORMAT and stored.config is None:
        raise UnusableFile(f"{path / RUN_JSON}: config is missing: the run cannot be read")
    if stored.format != FORMAT or stored.config is None:
        writer = (stored.versions or {}).get("wganbench", "unknown")
        raise ConfigError(
            f"{path} was written by another version of wganbench ({writer}): read it with "
            "that version, or start afresh with --overwrite"
        )
    return replace(stored_values(stored.config), overwrite=False)


def check_folder(config: RunConfig, may_be_busy: bool = False) -> None:
    """Check that a run's folder is writable, not locked, and holds this run or none.

    If a process is saving the run before it ends, print a line and wait for it. With
    ``may_be_busy`` a locked folder is accepted. Writes nothing. Raises ConfigError.
    """
    folder = run_folder(config)
    check_writable(folder)
    for name in HYDRAS_FILES:
        inside_regular(folder, name)
    if not (folder / RUN_JSON).exists():
        return
    run = RunFolder(folder)
    try:
        if not may_be_busy:
            wait_while_ending([run], print)
        if not may_be_busy and (busy := run.holder()):
            raise ConfigError(str(busy))
    except (UnusableFile, OSError) as error:
        raise ConfigError(of_the_system(error)) from error
    if config.overwrite:
        return
    stored = stored_config(folder)
    different = [
        f"{key} is {theirs!r} there and {ours!r} here"
        for key, theirs, ours in differences(identity(stored), identity(config))
    ]
    if different:
        raise ConfigError(
            f"{folder} holds a run of another configuration: {different[0]}; "
            "--overwrite starts the run afresh"
        )
    check_contents(folder, config)


def outcome_at_once(config: RunConfig) -> RunOutcome | None:
    """Return the outcome of a finished run of this configuration, without importing torch.

    None when there is none, and when a closer look is needed: `check_folder` and training take
    it. A run on the user's own data needs one, because the data may have changed.
    """
    if config.overwrite:
        return None
    try:
        record = RunFolder(run_folder(config)).ended()
        if record is None or record.format != FORMAT or not record.config or record.data_sha256:
            return None
        same = identity(from_dict(record.config)) == identity(config)
        return outcome_before(record) if same else None
    except (ConfigError, OSError):
        return None


def outcome_before(record: RunRecord) -> RunOutcome:
    """Return the outcome of a run that ended before; a sentence names plugins changed since."""
    outcome, changed = outcome_of(record), changed_plugins(record.plugins or {})
    again = "changed since this run was trained; --overwrite trains it again."
    return replace(
        outcome, verdict=[*outcome.verdict, *(f"{name} has {again}" for name in changed)]
    )


def stored_values(values: dict[str, Any]) -> RunConfig:
    """Return a stored configuration, typed and checked, with downloads turned off.

    A download would go to a folder that the file names, and the file may come from a stranger.
    Raises ConfigError.
    """
    config = from_dict(values)
    if "download" in config.data.options:
        config.data.options["download"] = False
    return config


def check_contents(folder: Path, config: RunConfig) -> None:
    """Check that the user's data are still those that the run in the folder was trained on.

    Raises ConfigError. Missing data are accepted here, because a finished run needs none.
    """
    trained_on = read_record(folder).data_sha256
    now = contents_digest(config.data.options, config.data.kind)
    if trained_on and now and now != trained_on:
        raise ConfigError(
            f"data.path={config.data.options['path']} holds other data than the run in {folder} "
            "was trained on: put those back, or train afresh with another name=... or --overwrite"
        )


def with_data(config: RunConfig, folder: Path) -> RunConfig:
    """Return a run's configuration with ``found_at`` set to the present place of its data.

    This is ``data.path`` relative to the current folder if it holds the data that the run was
    trained on, else the place to which it led when it was typed. If neither exists, the
    configuration is returned unchanged.
    """
    options = config.data.options
    if options.get("path") is None or options.get("found_at") is None:
        return config
    try:
        here = str(expanded(options["path"], "data.path").absolute())
    except ConfigError:  # a user of another machine
        return config
    if here == options["found_at"]:
        return config
    trained_on = None
    if (folder / RUN_JSON).is_file():
        trained_on = read_record(folder).data_sha256
    places = [place for place in (here, options["found_at"]) if Path(place).exists()]
    found = [
        place
        for place in places
        if trained_on == contents_digest(options | {"found_at": place}, config.data.kind)
    ]
    # For a run that has not begun, only the earlier place of its data is known.
    place = next(iter(found or places[::-1]), options["found_at"])
    return replace(config, data=replace(config.data, options=options | {"found_at": place}))


def check_writable(folder: Path) -> None:
    """Raise UnwritableFolder unless the folder can be made, or written if it exists."""
    for part in folder.parts:
        if len(os.fsencode(part)) > LONGEST_NAME:
            raise ConfigError(
                f"the name of a folder is too long, over {LONGEST_NAME} bytes: {short_repr(part)}; "
                "set name or output_dir"
            )
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise UnwritableFolder(
            f"cannot write to {folder}: {existing} is not a folder; set output_dir"
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UnwritableFolder(
            f"cannot write to {folder}: no permission in {existing}; set output_dir"
        )


def differences(
    stored: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yield ``(key, stored value, wanted value)`` for every leaf in which two mappings differ."""
    for key in dict.fromkeys([*stored, *wanted]):
        theirs, ours = stored.get(key), wanted.get(key)
        if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
            yield from differences(theirs, ours, f"{prefix}{key}.")
        elif theirs != ours:
            yield prefix + str(key), theirs, ours


# The places of runs in their stack, as stored in run.json and sweep.json.


@dataclass(frozen=True)
class Places:
    """The number of places in a stack, and the places of the runs that are trained here."""

    size: int
    own: tuple[int, ...]

    @staticmethod
    def all_of(runs: int) -> Places:
        """Return the places of a stack all of whose runs are trained here."""
        return Places(runs, tuple(range(runs)))

    def of(self, runs: Sequence[int]) -> Places:
        """Return the places of some of these runs, given by their indices in ``own``."""
        return Places(self.size, tuple(self.own[run] for run in runs))


def place_of(folder: RunFolder) -> Places | None:
    """Return the place of a run in its stack from run.json; None if it is unknown."""
    try:
        return as_places(folder.read().get("stack"))
    except (OSError, ValueError):
        return None


def as_places(stored: object) -> Places | None:
    """Return a run's place as run.json or sweep.json holds it; None if it is malformed."""
    if not isinstance(stored, dict):
        return None
    size, place = stored.get("size"), stored.get("place")
    if type(size) is not int or type(place) is not int:
        return None
    return Places(size, (place,)) if 0 <= place < size <= bounds.REPEATS else None
