"""Speed and memory beside peers, and as the work grows. Not part of the package."""

import os

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
"""The processors that we were started on, read before torch is imported."""


def stay() -> None:
    """Go back to `CORES`: importing torch 2.13 has been seen to lift a `taskset`."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, CORES)
