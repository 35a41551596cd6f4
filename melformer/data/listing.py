"""Lists of loops, one JSON object a line, and the arrays beside them: read whole, each fault named with its place."""

import json
import math
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from tokenize import TokenError
from typing import Any

import numpy as np

from melformer.audio.grid import check_bpm
from melformer.errors import RequestError, TempoError

MAX_BEATS = 1_000_000


def read_entries(path: Path, needed: tuple[str, ...]) -> list[dict[str, Any]]:
    """The lines of `index.jsonl` or `clips.jsonl`; each has the keys `needed`, and what is known is in range.

    Errors: RequestError that names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise RequestError(f"{path} is no text: make it again, or give a folder without it.") from None
    return [_read_entry(line, needed, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def _read_entry(line: str, needed: tuple[str, ...], place: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        raise RequestError(f"{place}: this is no JSON; one object a line is expected.") from None
    if not isinstance(entry, dict):
        raise RequestError(f"{place}: one object a line is expected.")
    for key in needed:
        if key not in entry:
            raise RequestError(f"{place}: there is no {key!r}.")
    for key in entry.keys() & _CHECKS.keys():
        try:
            entry[key] = _CHECKS[key](entry[key])
        except (TempoError, ValueError) as error:
            raise RequestError(f"{place}: {key!r} is {str(entry[key])[:60]!r}; {error}.") from None
    return entry


def _is_text(value: Any) -> bool:
    """Whether it is a string that can be written to a file: JSON can hold half of a character ("\\ud800")."""
    return isinstance(value, str) and value.encode("utf-8", "ignore").decode() == value


def _inside(value: Any) -> str:
    """A file's name that stays in its folder, whoever wrote the list."""
    if not _is_text(value) or not value.strip("./ ") or "\0" in value:
        raise ValueError("it must name a file")
    path = PurePosixPath(value.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("it must name a file inside the folder")
    return value


def _count(low: int, high: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        number = float(value) if isinstance(value, (int, float)) and abs(value) <= high else math.nan
        if isinstance(value, bool) or not (number.is_integer() and low <= number):
            raise ValueError(f"it must be a whole number from {low} to {high:,}")
        return int(number)

    return check


def _sources(value: Any) -> list[dict[str, Any]]:
    good = isinstance(value, list) and all(
        isinstance(source, dict) and all(_is_text(source.get(key)) for key in ("name", "licence")) for source in value
    )
    if not good:
        raise ValueError("it must list a name and a licence for each source")
    return list(value)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "file": _inside, "name": _inside, "shard": _inside, "bpm": check_bpm, "beats_per_bar": _count(1, 64),
    "n_beats": _count(0, MAX_BEATS), "start": _count(0, 2**40), "sources": _sources,
}  # fmt: skip


# What numpy's reader of headers, which parses Python's words, lets out.
_UNREADABLE = (OSError, ValueError, EOFError, OverflowError, TypeError, SyntaxError, RecursionError, TokenError)


def load_array(path: Path, dtype: type, n_dims: int, n_rows: int) -> np.ndarray:
    """A `.npy` file, memory-mapped: at least `n_rows` rows of `dtype`. Errors: RequestError."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except _UNREADABLE as error:
        raise RequestError(f"{path} cannot be read ({error}); remove it and make it again.") from None
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != n_dims or len(array) < n_rows:
        raise RequestError(f"{path} does not hold what its list says; remove both and make them again.")
    return array
