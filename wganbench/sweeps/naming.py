"""The folder of a sweep where its name is not given."""

from __future__ import annotations

from collections.abc import Sequence

from wganbench.errors import ConfigError


def named(arguments: Sequence[str]) -> list[str]:
    """The arguments with ``name=``: the experiment's, else left to be the data set's.

    A sweep over several experiments or data sets is called ``sweep``. Raises ConfigError
    where the name itself is swept.

    >>> named(["experiment=clip_sweep", "seed=0,1"])
    ['experiment=clip_sweep', 'seed=0,1', 'name=clip_sweep']
    >>> named(["data=ring8,grid25"])
    ['data=ring8,grid25', 'name=sweep']
    """
    choice: str | None = None
    for text in arguments:
        key, equals, value = text.partition("=")
        several = "," in value or value.endswith(")")
        if key == "name" and equals:
            if several:
                raise ConfigError("name is the folder of the whole sweep and cannot be swept")
            return list(arguments)
        if key == "experiment" or (key == "data" and several and choice is None):
            choice = "sweep" if several else value
    return [*arguments, *([f"name={choice}"] if choice else [])]
