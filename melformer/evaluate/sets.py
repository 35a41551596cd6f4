"""Loops to measure with, each on its grid. `tools/evaluation_sets.py` writes the sets (a), (b) and (c)."""

from dataclasses import dataclass
from pathlib import Path

from melformer.audio.grid import fit_to_grid
from melformer.audio.io import audio_files, read_waveform
from melformer.audio.tempo import find_tempo, fit_loop
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError, MelformerError

FIRST_HELD_OUT_SEED = 10_000_000  # seeds from here on are never trained on


@dataclass(frozen=True)
class EvaluationClip:
    """A named piece of whole beats."""

    name: str
    waveform: Waveform
    bpm: float
    n_beats: int


def folder_clips(folder: str | Path, max_s: float = 120.0) -> tuple[list[EvaluationClip], list[str]]:
    """Every audio file of a folder (not of its subfolders) on its grid, sorted by name, and what was left out
    and why.

    The BPM comes from the name, else the metadata, else detection. Errors: AudioError where no file can be
    used.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise AudioError(f"{folder} is no folder: give one that holds loops")
    clips, left_out = [], []
    for path in audio_files(folder):
        try:
            clips.append(read_clip(path, max_s))
        except MelformerError as error:
            left_out.append(f"{path.name}: {error}")
    if not clips:
        reasons = "; ".join(left_out[:3]) or "it holds no audio files"
        raise AudioError(f"no loop in {folder} can be measured ({reasons})")
    return clips, left_out


def read_clip(path: str | Path, max_s: float = 120.0) -> EvaluationClip:
    """One audio file on its grid. Errors: AudioError, TempoError."""
    waveform = read_waveform(path, max_s=max_s)
    tempo = find_tempo(waveform, path=path)
    fit = fit_loop(waveform, tempo)
    return EvaluationClip(Path(path).stem, fit.waveform, tempo.bpm, fit.n_beats)


def on_grid(name: str, waveform: Waveform, bpm: float, start_s: float = 0.0) -> EvaluationClip:
    """Trim or pad to whole beats."""
    fit = fit_to_grid(waveform, bpm, start_s)
    return EvaluationClip(name, fit.waveform, bpm, fit.n_beats)
