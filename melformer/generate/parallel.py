"""Two cores for work that falls into independent parts."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")
N_THREADS = 2


def side_by_side(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """`work` of each part, in their order, two at a time in threads: torch computes outside Python's lock.

    Not torch's own threads: those share the work inside an operation, and wait for each other at the end of every one.
    """
    if len(parts) < 2:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(N_THREADS) as pool:
        return list(pool.map(work, parts))
