"""What a run leaves on disk: written whole or not at all, read back strictly, a clear word when there is no room."""

import json
import os
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError

from melformer.errors import CheckpointError
from melformer.files import atomic_path, whole_lines


class _Unwritten(OSError):
    """What torch raises as RuntimeError when a file cannot be written."""


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Save a state under its name once all of it is on the disk. Errors: OSError."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # torch's writer hides the system's own error behind its own
            raise _Unwritten("no room for it on the disk") from error
        file.flush()
        os.fsync(file.fileno())


def read_state(path: Path) -> dict[str, Any]:
    """Read a state of one's own. Errors: CheckpointError when it is missing or damaged."""
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except (
        OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, AssertionError,
        EOFError, MemoryError, UnpicklingError, struct.error,
    ) as error:  # fmt: skip  # torch checks little of what it reads
        raise unusable(path, error) from error


def unusable(path: Path, error: Exception) -> CheckpointError:
    """The sentence for a state that does not load."""
    return CheckpointError(f"{path} cannot be resumed: {error}. Start a new run, or name another.")


@contextmanager
def told_when_full(run: Path, kept_step: int) -> Iterator[None]:
    """Turn a write that fails into a CheckpointError that says what is safe and what to do."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        free = shutil.disk_usage(run).free / 1e6
        safe = f"The state of step {kept_step}" if kept_step > 0 else "What was finished"
        raise CheckpointError(
            f"The run in {run} could not be written ({reason}); {free:,.0f} MB are free there. {safe} "
            f"is safe: make room, then go on with `--resume {run}`."
        ) from error


def log_entry(line: str) -> dict[str, Any] | None:
    """A line of a run's log; None for one that is damaged, which costs no more than a point of a curve."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and type(entry.get("step")) is int else None


def tidy(run: Path, step: int) -> None:
    """Remove what a killed process left half written, and log lines of steps that will be done again."""
    for left in (*run.glob(".state-*.pt"), *run.glob(".plan-*.json"), *run.glob(".log-*.jsonl")):
        left.unlink()
    for left in run.glob(".checkpoint-*"):
        shutil.rmtree(left)
    log = run / "log.jsonl"
    if not log.exists():
        return
    lines = whole_lines(log)
    kept = [line for line in lines if (entry := log_entry(line)) is not None and entry["step"] <= step]
    if kept != lines:
        with atomic_path(log) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
