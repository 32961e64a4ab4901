"""Settings that are given as Python values, turned into overrides as on a command line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from wganbench import bounds
from wganbench.errors import ConfigError, short_repr
from wganbench.plugin_files import check_unedited
from wganbench.presets import GROUPS

Given = str | Sequence[str] | Mapping[str, object]
"""An override, several of them, or values by key."""

PLAIN = re.compile(r"[A-Za-z_./~-][\w./~+-]*")
"""Words that Hydra reads as they are."""

WITHOUT_COMMA = (*GROUPS, "seed", "seeds")
"""Keys whose values hold no comma: in a text it separates several, as on a command line."""

CONSTANTS = {True: "true", False: "false", None: "null"}


def overrides_from(
    given: Sequence[Given], settings: Mapping[str, object], several: bool = False
) -> list[str]:
    """Return the overrides of ``train(*given, **settings)`` as texts.

    With ``several`` (a sweep) a list, tuple, range or array stands for the values to sweep over;
    else it is one value. Raises ConfigError for a value that no setting has, and for a plugin file
    that was edited since an earlier call loaded it.

    >>> overrides_from(["loss=gp", {"train.betas": [0.5, 0.9]}], {"seed": 3})
    ['loss=gp', 'train.betas=[0.5,0.9]', 'seed=3']
    >>> overrides_from([], {"loss": ["gp", "clip"], "seed": range(3)}, several=True)
    ['loss=gp,clip', 'seed=0,1,2']
    """
    check_unedited()
    texts: list[str] = []
    for part in [*given, settings]:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, Mapping):
            texts += [f"{key}={_values(key, value, several)}" for key, value in part.items()]
        else:
            texts += _words(part)
    return texts


def _words(part: object) -> list[str]:
    """Return several overrides as a list. Raises ConfigError for anything else."""
    items = list(part) if isinstance(part, Iterable) else [part]
    words = [item for item in items if isinstance(item, str)]
    if len(words) == len(items):
        return words
    raise ConfigError(
        f"{short_repr(part)} is of the type {type(part).__name__}; give overrides such as "
        "'loss=gp', a list of them, or values by key"
    )


def _values(key: str, value: object, several: bool) -> str:
    value = _plain(value)
    if several and isinstance(value, list | tuple | range):
        if not value:
            raise ConfigError(f"{key}: there are no values to sweep over")
        return ",".join(_texts(key, value))
    return value if isinstance(value, str) and key in WITHOUT_COMMA else _text(key, value)


def _plain(value: object) -> object:
    """Return an array or a number of NumPy's or of torch's as Python's."""
    return value.tolist() if hasattr(value, "tolist") else value


def _text(key: str, value: object) -> str:
    """Return one value in Hydra's grammar. Raises ConfigError."""
    value = _plain(value)
    if value is None or isinstance(value, bool):
        return CONSTANTS[value]
    if isinstance(value, int | float):
        return repr(int(value) if isinstance(value, int) else float(value))
    if isinstance(value, str | Path):
        return _quoted(str(value))
    if isinstance(value, list | tuple | range):
        return f"[{','.join(_texts(key, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(_pairs(key, value))}}}"
    raise ConfigError(
        f"{key}={short_repr(value)} is of the type {type(value).__name__}; "
        "give a number, a text, a list of these, True, False or None"
    )


def _texts(key: str, values: Sequence[object]) -> Iterator[str]:
    """Return each of several values as `_text` does. Raises ConfigError for too many of them."""
    if len(values[: bounds.RUNS + 1]) > bounds.RUNS:
        raise ConfigError(f"{key} has more than {bounds.RUNS} values, which is too many")
    return (_text(key, value) for value in values)


def _pairs(key: str, value: Mapping[object, object]) -> Iterator[str]:
    for name, item in value.items():
        yield f"{_quoted(str(name))}:{_text(key, item)}"


def unquoted(text: str) -> str:
    """Return a text without the quotes that Hydra's grammar would take off, for other readers.

    >>> unquoted("'my runs'"), unquoted("a b"), unquoted(_quoted("it's")), unquoted('"007"')
    ('my runs', 'a b', "it's", '007')
    """
    mark = text[:1]
    if len(text) < 2 or mark not in ("'", '"') or not text.endswith(mark):
        return text
    inside = text[1:-1]
    return re.sub(rf"(\\*)({mark}|$)", lambda m: m[1][: len(m[1]) // 2] + m[2], inside)


def _quoted(text: str) -> str:
    """Return a text as Hydra reads it back; words such as ``true`` and ``1e3`` get quotes."""
    if PLAIN.fullmatch(text) and text.lower() not in ("true", "false", "null", "nan", "inf"):
        return text
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text) + "'"
