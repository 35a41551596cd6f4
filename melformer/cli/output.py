"""What the commands print, and where they may write."""

import json
import math
import os
import re
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melformer.errors import RequestError

if TYPE_CHECKING:
    from melformer.generate import Beat, Prompt

MAX_NAME_BYTES = 150


def say(*lines: str) -> None:
    """Words for the person at the keyboard: stderr, so that stdout stays for programs."""
    for line in lines:
        print(f"melformer: {line}", file=sys.stderr)


def say_prompt(prompt: "Prompt") -> None:
    """What was understood of a loop, so that a wrong tempo is seen before it is heard."""
    tempo = prompt.tempo
    say(f"{prompt.name}: {prompt.bpm:g} BPM ({tempo.source}), {prompt.n_beats} beats", *prompt.messages)


def print_json(values: dict[str, Any]) -> None:
    """One line of JSON on stdout; what is not a number becomes null, since JSON knows no NaN."""
    print(json.dumps(_plain(values), allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def output_path(given: str, suffixes: tuple[str, ...], *sources: str | Path) -> Path:
    """Check where a result is to go, before any work is done for it.

    Errors: RequestError for a suffix that cannot be written, a folder or a device in the way, or the source itself.
    """
    path = Path(given)
    if path.suffix.lower() not in suffixes:
        raise RequestError(f"{path} must end in {' or '.join(suffixes)}.")
    if path.is_dir():
        raise RequestError(f"{path} is a folder; give a file name.")
    if path.exists() and not path.is_file():
        raise RequestError(f"{path} is a device or a pipe, which would be replaced; give another name.")
    if any(path.exists() and Path(source).exists() and path.samefile(source) for source in sources):
        raise RequestError(f"{path} is the source itself and would be overwritten; give another name.")
    return path


def plain_stem(name: str) -> str:
    """A loop's name without its BPM, and short enough to be added to: `loop_120bpm` → `loop`."""
    plain = re.sub(r"[_\- ]?\d+(?:\.\d+)?[_\- ]?bpm", "", name, flags=re.IGNORECASE) or "loop"
    return plain.encode()[:MAX_NAME_BYTES].decode(errors="ignore")


def write_under_free_name(path: Path, write: Callable[[Path], object]) -> Path:
    """Write a file whose name was not given by the user: where it is taken, `NAME_2`, `NAME_3` … is used; the path.

    `write` must not replace a file (FileExistsError), since another process may take the name meanwhile.
    """
    for number in count(2):
        try:
            if not os.path.lexists(path):
                write(path)
                return path
        except FileExistsError:
            if not os.path.lexists(path):  # not the file, but a folder above it, stands in the way
                raise
        stem = path.stem if number == 2 else path.stem.rpartition("_")[0]
        path = path.with_name(f"{stem}_{number}{path.suffix}")
    raise AssertionError("numbers do not end")


class Progress:
    """One line on stderr that says how far a generation is and how fast; silent where nobody looks."""

    def __init__(self, n_beats: int) -> None:
        self.n_beats, self.audio_s = n_beats, 0.0
        self.start = time.perf_counter()

    def show(self, beat: "Beat") -> None:
        """Count one more new beat."""
        self.audio_s += beat.waveform.duration_s
        speed = self.audio_s / max(time.perf_counter() - self.start, 1e-9)
        if sys.stderr.isatty():
            done = beat.index + 1
            text = f"\rmelformer: {done}/{self.n_beats} beats, {speed:.1f}× real time "
            print(text, end="\n" if done == self.n_beats else "", file=sys.stderr, flush=True)
