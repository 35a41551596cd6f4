"""What the commands print, and where they may write."""

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from melformer.errors import RequestError


def say(*lines: str) -> None:
    """Words for the person at the keyboard: stderr, so that stdout stays for programs."""
    for line in lines:
        print(line, file=sys.stderr)


def print_json(values: dict[str, Any]) -> None:
    print(json.dumps(values, allow_nan=False))


def output_path(given: str, suffixes: tuple[str, ...], source: str | None = None) -> Path:
    """Check where a result is to go, before any work is done for it.

    Errors: RequestError for a suffix that cannot be written, a folder in the way, or the source itself.
    """
    path = Path(given)
    if path.suffix.lower() not in suffixes:
        raise RequestError(f"{path} must end in {' or '.join(suffixes)}.")
    if path.is_dir():
        raise RequestError(f"{path} is a folder; give a file name.")
    if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
        raise RequestError(f"{path} is the loop itself and would be overwritten; give another name.")
    return path


def plain_stem(name: str) -> str:
    """A loop's name without its BPM: `loop_120bpm` → `loop`."""
    return re.sub(r"[_\- ]?\d+(?:\.\d+)?[_\- ]?bpm", "", name, flags=re.IGNORECASE) or "loop"


class Progress:
    """One line on stderr that says how far a generation is and how fast; silent where nobody looks."""

    def __init__(self, n_beats: int) -> None:
        self.n_beats, self.start = n_beats, time.perf_counter()
        self.shown = sys.stderr.isatty()

    def show(self, done_beats: int, audio_s: float) -> None:
        """`audio_s`: seconds of new sound so far."""
        if self.shown:
            speed = audio_s / max(time.perf_counter() - self.start, 1e-9)
            end = "\n" if done_beats == self.n_beats else ""
            text = f"\rmelformer: {done_beats}/{self.n_beats} beats, {speed:.1f}× real time "
            print(text, end=end, file=sys.stderr, flush=True)
