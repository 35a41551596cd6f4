"""What the page's process keeps of the memory that it no longer needs."""

import ctypes
from typing import Any

M_ARENA_MAX = -8  # malloc.h of the GNU C library, mallopt(3)


def use_one_heap() -> bool:
    """One heap for all threads: requests are answered by dozens of them in turn, and each would get its own.

    To be called before threads start. Returns whether the C library took it: only GNU's knows how.
    """
    mallopt = _function("mallopt")
    return bool(mallopt and mallopt(M_ARENA_MAX, 1))


def return_freed_memory() -> bool:
    """Give the pages of the heap that nothing uses back to the system; whether there were any."""
    trim = _function("malloc_trim")
    return bool(trim and trim(ctypes.c_size_t(0)))


def _function(name: str) -> Any:
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):  # macOS, Windows, musl
        return None
