"""The examples as the page shows them: a picture of each, and a loop that is opened once for everybody."""

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from melformer.audio.io import read_waveform
from melformer.errors import MelformerError
from melformer.ui.takes.loops import PromptLoop

COLUMNS = 56
_BPM = re.compile(r"(\d+(?:\.\d+)?)[ _-]*bpm", re.IGNORECASE)


def example_card(path: Path) -> dict[str, Any]:
    """Name, BPM (of the file's name; None without one) and an outline: COLUMNS peaks, 0 to 1."""
    found = _BPM.search(path.stem)
    try:
        samples = np.abs(read_waveform(path).samples).max(axis=1)
    except (MelformerError, OSError):
        samples = np.zeros(COLUMNS)
    peaks = np.array([part.max(initial=0.0) for part in np.array_split(samples, COLUMNS)])
    outline = np.round(peaks / max(float(peaks.max()), 1e-6), 2).tolist()
    return {"name": path.name, "bpm": float(found.group(1)) if found else None, "outline": outline}


class ExampleLoops:
    """Examples never change, so each is opened once for each number of beats per bar; sessions share the loop."""

    def __init__(self, examples: list[Path]) -> None:
        self.paths = {path.name: path for path in examples}
        self._cards: list[dict[str, Any]] | None = None
        self._loops: dict[tuple[str, int | None], PromptLoop] = {}
        self._lock = threading.Lock()

    def cards(self) -> list[dict[str, Any]]:
        with self._lock:
            if self._cards is None:
                self._cards = [example_card(path) for path in self.paths.values()]
            return self._cards

    def loop(
        self, name: str, beats_per_bar: int | None, open_path: Callable[[Path, int | None], PromptLoop]
    ) -> PromptLoop:
        key = (name, beats_per_bar)
        if key not in self._loops:
            self._loops[key] = open_path(self.paths[name], beats_per_bar)
        return self._loops[key]
