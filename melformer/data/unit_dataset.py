"""Passages as units of stems, with how alike their notes are: what the pointer learns from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from melformer.audio.grid import BeatGrid
from melformer.audio.io import read_waveform
from melformer.corpus.notes import notes_from_json
from melformer.data.listing import read_entries
from melformer.data.note_units import alikeness
from melformer.errors import RequestError
from melformer.files import atomic_path
from melformer.stems import STEMS
from melformer.stems.units import UNITS_PER_BEAT, unit_pictures

MIN_UNITS, MAX_UNITS = 40, 160


@dataclass(frozen=True)
class UnitClip:
    """A passage in units: `mel` (U, 3, 24, 6), `chroma` (U, 2, 12, 2), `alike` int8 (3, U, U, 15), `silent` (3, U);
    `bar` is the number of units in a bar."""

    mel: np.ndarray
    chroma: np.ndarray
    alike: np.ndarray
    silent: np.ndarray
    bpm: float
    bar: int

    @classmethod
    def load(cls, path: Path) -> "UnitClip":
        """Read what `save` wrote."""
        with np.load(path) as file:
            arrays = {name: file[name] for name in _ARRAYS}
            return cls(**arrays, bpm=float(file["bpm"]), bar=int(file["bar"]))

    def save(self, path: Path) -> None:
        """Write one .npz, whole or not at all."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays, bpm=self.bpm, bar=self.bar)


_ARRAYS = ("mel", "chroma", "alike", "silent")


def gather_units(folders: list[Path], cache: Path) -> list[UnitClip]:
    """The passages of 20 model beats or more in folders that `melformer corpus build --stems` wrote, kept in `cache`.

    Errors: RequestError when there is none with stems and notes.
    """
    cache.mkdir(parents=True, exist_ok=True)
    found = []
    for folder in folders:
        index = folder / "index.jsonl"
        entries = read_entries(index, ("file", "bpm", "n_beats")) if index.exists() else []
        for entry in tqdm(entries, desc="units", unit="passage"):
            path = cache / f"{folder.name}_{Path(entry['file']).stem}.npz"
            if not path.exists():
                clip = _unit_clip(folder, entry)
                if clip is None:
                    continue
                clip.save(path)
            found.append(UnitClip.load(path))
    if not found:
        raise RequestError(
            f"{folders[0]} holds no long passage with stems and notes; `melformer corpus build --stems` writes them."
        )
    return found


def _unit_clip(folder: Path, entry: dict[str, Any]) -> UnitClip | None:
    """One passage, or None where it is short or has no stems or notes."""
    files = [(folder / entry["file"]).with_suffix("") / f"{name}.flac" for name in STEMS]
    if "notes" not in entry or not all(file.is_file() for file in files):
        return None
    waveforms = [read_waveform(file) for file in files]
    grid = BeatGrid(entry["bpm"], waveforms[0].sample_rate)
    factor = grid.model_beats_per_beat
    n_units = min(MAX_UNITS, int(entry["n_beats"] * factor * UNITS_PER_BEAT))
    if n_units < MIN_UNITS:
        return None
    pictures = unit_pictures(np.stack([w.samples.mean(axis=1) for w in waveforms]), grid, n_units)
    notes = {name: _at_tempo(rows, factor) for name, rows in notes_from_json(entry["notes"]).items()}
    alike, silent = alikeness(notes, n_units, n_units)
    bar = round(entry.get("beats_per_bar", 4) * factor * UNITS_PER_BEAT)
    return UnitClip(pictures.mel.astype(np.float16), pictures.chroma, alike, silent, grid.model_bpm, bar)


def _at_tempo(notes: np.ndarray, factor: float) -> np.ndarray:
    """Notes in ticks of model beats."""
    moved = notes.copy()
    moved["onset"] = np.rint(notes["onset"] * factor)
    moved["duration"] = np.maximum(1, np.rint(notes["duration"] * factor))
    return moved
