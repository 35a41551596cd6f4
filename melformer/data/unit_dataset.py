"""Passages as units of stems, with how alike their notes are: what the pointer learns from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from melformer.audio.grid import BeatGrid
from melformer.audio.io import read_waveform
from melformer.corpus.notes import notes_from_json
from melformer.data.listing import read_entries
from melformer.data.note_units import alikeness, half_alikeness
from melformer.errors import RequestError
from melformer.files import write_arrays
from melformer.stems.separate import separate
from melformer.stems.separator import Separator
from melformer.stems.stems import STEMS, Stems
from melformer.stems.units import UNITS_PER_BEAT, unit_pictures

MIN_UNITS, MAX_UNITS = 40, 160


@dataclass(frozen=True)
class UnitClip:
    """A passage in units: `mel` (V, U, 3, 24, 6), `chroma` (V, U, 2, 12, 2), `alike` int8 (3, U, U, 15), `silent`
    (3, U), `halves` int8 (2U, 2U) of drums (all 0: not known); `bar` is the number of units in a bar. Of V = 2 ways of
    hearing its stems the first is their true sound, the second what a separator made of the mix."""

    mel: np.ndarray
    chroma: np.ndarray
    alike: np.ndarray
    silent: np.ndarray
    halves: np.ndarray
    bpm: float
    bar: int

    @property
    def n_units(self) -> int:
        """U, the number of units."""
        return self.silent.shape[1]

    def part(self, start: int, stop: int) -> "UnitClip":
        """Units `start` to `stop` alone."""
        units, halves = slice(start, stop), slice(2 * start, 2 * stop)
        return UnitClip(
            self.mel[:, units], self.chroma[:, units], self.alike[:, units, units], self.silent[:, units],
            self.halves[halves, halves], self.bpm, self.bar,
        )  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> "UnitClip":
        """Read what `save` wrote."""
        with np.load(path) as file:
            arrays = {name: file[name] for name in _ARRAYS}
            return cls(**arrays, bpm=float(file["bpm"]), bar=int(file["bar"]))

    def save(self, path: Path) -> None:
        """Write one .npz, whole or not at all."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        write_arrays(path, arrays | {"bpm": self.bpm, "bar": self.bar})


_ARRAYS = ("mel", "chroma", "alike", "silent", "halves")


def gather_units(folders: list[Path], cache: Path, separator: Separator | None = None) -> list[UnitClip]:
    """The passages of 20 model beats or more in folders that `melformer corpus build --stems` wrote, kept in `cache`;
    with a separator, heard through it as well.

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
                clip = _read_clip(folder, entry, separator)
                if clip is None:
                    continue
                clip.save(path)
            found.append(UnitClip.load(path))
    if not found:
        raise RequestError(
            f"{folders[0]} holds no long passage with stems and notes; `melformer corpus build --stems` writes them."
        )
    return found


def _read_clip(folder: Path, entry: dict[str, Any], separator: Separator | None) -> UnitClip | None:
    """One passage, or None where it is short or has no stems or notes."""
    files = [(folder / entry["file"]).with_suffix("") / f"{name}.flac" for name in STEMS]
    if "notes" not in entry or not all(file.is_file() for file in files):
        return None
    stems = Stems(*(read_waveform(file) for file in files))
    notes = notes_from_json(entry["notes"])
    return unit_clip(stems, notes, entry["bpm"], entry["n_beats"], entry.get("beats_per_bar", 4), separator)


def unit_clip(
    stems: Stems, notes: Mapping[str, np.ndarray], bpm: float, n_beats: float, beats_per_bar: float,
    separator: Separator | None = None,
) -> UnitClip | None:  # fmt: skip
    """A passage of true stems and the notes of `passage_notes`; None under 20 model beats."""
    grid = BeatGrid(bpm, stems.drums.sample_rate)
    factor = grid.model_beats_per_beat
    n_units = min(MAX_UNITS, int(n_beats * factor * UNITS_PER_BEAT))
    if n_units < MIN_UNITS:
        return None
    heard = [stems] if separator is None else [stems, separate(stems.mix(), bpm, separator)]
    mono = [np.stack([stem.samples.mean(axis=1) for stem in way]) for way in heard]
    pictures = [unit_pictures(samples, grid, n_units) for samples in mono]
    at_tempo = {name: _at_tempo(rows, factor) for name, rows in notes.items()}
    alike, silent = alikeness(at_tempo, n_units, n_units)
    return UnitClip(
        np.stack([picture.mel for picture in pictures]).astype(np.float16),
        np.stack([picture.chroma for picture in pictures]), alike, silent, half_alikeness(at_tempo["drums"], n_units),
        grid.model_bpm,
        round(beats_per_bar * factor * UNITS_PER_BEAT),
    )  # fmt: skip


def _at_tempo(notes: np.ndarray, factor: float) -> np.ndarray:
    """Notes in ticks of model beats."""
    moved = notes.copy()
    moved["onset"] = np.rint(notes["onset"] * factor)
    moved["duration"] = np.maximum(1, np.rint(notes["duration"] * factor))
    return moved
