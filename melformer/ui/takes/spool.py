"""Large arrays of all sessions: on disk, and in memory only as far as one budget for everybody goes."""

import dataclasses
import mmap
import threading
import weakref
from collections import OrderedDict
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import numpy as np

LARGE_BYTES = 2**16
PREFIX, SUFFIX = "array-", ".raw"
Kept = TypeVar("Kept")


class Spool:
    """Maps arrays from files, and lets go of the pages of those unused longest when they exceed `budget_bytes`.

    A visitor's loop is needed when something is asked for, and for minutes not at all; undo and takes hold many of
    them. Pages that are let go come back from disk by themselves.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._resident: OrderedDict[int, weakref.ref[np.memmap]] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, value: Kept, folder: Path) -> Kept:
        """`value` (nested frozen dataclasses and tuples) with its large arrays mapped from files in `folder`."""
        kept = _replaced(value, lambda array: _mapped(array, folder))
        self.use(kept)
        return kept

    def use(self, value: Any) -> None:
        """The arrays of `value` are about to be read: others make room for them."""
        arrays = maps_of(value)
        with self._lock:
            for array in arrays:
                self._resident[id(array)] = weakref.ref(array)
                self._resident.move_to_end(id(array))
            self._shrink({id(array) for array in arrays})

    def resident_bytes(self) -> int:
        """Bytes of the arrays that may be in memory."""
        with self._lock:
            return sum(array.nbytes for array in (kept() for kept in self._resident.values()) if array is not None)

    def _shrink(self, needed: set[int]) -> None:
        alive = {key: array for key, kept in self._resident.items() if (array := kept()) is not None}
        self._resident = OrderedDict((key, self._resident[key]) for key in alive)
        total = sum(array.nbytes for array in alive.values())
        for key, array in alive.items():
            if total <= self.budget_bytes:
                return
            if key not in needed:
                _let_go(array)
                del self._resident[key]
                total -= array.nbytes


def maps_of(value: Any) -> list[np.memmap]:
    """All arrays of `value` that are mapped from files."""
    found: list[np.memmap] = []

    def note(array: np.ndarray) -> np.ndarray:
        mapped = map_behind(array)
        if mapped is not None:
            found.append(mapped)
        return array

    _replaced(value, note)
    return found


def files_of(value: Any) -> set[Path]:
    """The files that the arrays of `value` are mapped from."""
    return {Path(str(array.filename)) for array in maps_of(value)}


def map_behind(array: np.ndarray) -> np.memmap | None:
    """The map that an array is, or looks at: `np.asarray` hides it."""
    behind: Any = array
    while isinstance(behind, np.ndarray) and not isinstance(behind, np.memmap):
        behind = behind.base
    return behind if isinstance(behind, np.memmap) else None


def _replaced(value: Any, change: Any) -> Any:
    """`value` with every array changed; itself where none is."""
    if isinstance(value, np.ndarray):
        return change(value)
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        parts = tuple(_replaced(part, change) for part in value)
        return parts if any(new is not old for new, old in zip(parts, value)) else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        changed = {name: _replaced(part, change) for name, part in fields.items()}
        different = {name: part for name, part in changed.items() if part is not fields[name]}
        return dataclasses.replace(value, **different) if different else value
    return value


def _mapped(array: np.ndarray, folder: Path) -> np.ndarray:
    """The array from a file of its own: small ones, and those that are mapped already, stay as they are."""
    if array.nbytes < LARGE_BYTES or map_behind(array) is not None:
        return array
    path = folder / f"{PREFIX}{uuid4().hex}{SUFFIX}"
    try:
        with path.open("xb") as file:
            np.ascontiguousarray(array).tofile(file)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return np.memmap(path, array.dtype, "c", shape=array.shape)  # torch wants to be able to write


def _let_go(array: np.memmap) -> None:
    """Nobody writes to the pages, so the file has all of them."""
    pages = array._mmap  # type: ignore[attr-defined]
    if hasattr(mmap, "MADV_DONTNEED") and hasattr(pages, "madvise"):
        pages.madvise(mmap.MADV_DONTNEED)
