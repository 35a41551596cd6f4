"""Half beats of stems as pictures: what the pointer compares and chooses from."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from melformer.audio.grid import BeatGrid
from melformer.audio.mel import mel_edges, triangles, unit_sums
from melformer.stems.grid_stft import magnitudes

UNITS_PER_BEAT = 2
"""Units in a model beat (90 to 180 BPM): 167 to 333 ms each."""
FRAMES_PER_UNIT, N_MEL = 6, 24
FLOOR_DB = -60.0
CHROMAS_PER_UNIT = 2
_WINDOW_S, _CHROMA_WINDOW_S = 0.046, 0.372
_TOP_HZ = 11_025.0
_CHROMA_HZ = ((32.0, 500.0), (120.0, 3_000.0))
"""Where bass and other have the partials that tell their pitch."""


@dataclass(frozen=True)
class UnitChoice:
    """What a stem plays for half a beat: unit `source` of the prompt, `shift` semitones up, or nothing. Drums may be
    cut in the middle: their second half is then half unit `second` of the prompt, counted from 0 (None: it runs on)."""

    source: int
    shift: int = 0
    silent: bool = False
    second: int | None = None

    @property
    def halves(self) -> tuple[int, int]:
        """The half units of the prompt that it plays, one after the other."""
        first = 2 * self.source
        return first, first + 1 if self.second is None else self.second


@dataclass(frozen=True)
class UnitPictures:
    """Stems of a loop in units: `mel` float32 (U, 3, N_MEL, FRAMES_PER_UNIT), magnitudes; `chroma` float32
    (U, 2, 12, CHROMAS_PER_UNIT), energies of bass and other by pitch class."""

    mel: np.ndarray
    chroma: np.ndarray

    def __len__(self) -> int:
        return len(self.mel)


def unit_edges(n_units: int, grid: BeatGrid) -> np.ndarray:
    """Where units start, in samples: int64 (n_units + 1,), each rounded by itself."""
    per_unit = grid.samples_per_model_beat / UNITS_PER_BEAT
    return np.array([round(per_unit * i) for i in range(n_units + 1)])


def unit_pictures(stems: np.ndarray, grid: BeatGrid, n_units: int) -> UnitPictures:
    """Pictures of mono stems, float32 (3, samples), that begin on the grid."""
    waveforms, rate = torch.from_numpy(np.ascontiguousarray(stems)), grid.sample_rate
    per_unit = float(grid.samples_per_model_beat) / UNITS_PER_BEAT
    n_fft = 2 * round(_WINDOW_S * rate / 2)
    centres = _centres(n_units * FRAMES_PER_UNIT, per_unit / FRAMES_PER_UNIT)
    spectra = magnitudes(_long_enough(waveforms, centres, n_fft), centres, n_fft)
    mel = spectra @ _mel_filters(n_fft, rate)
    long = 2 * round(_CHROMA_WINDOW_S * rate / 2)
    centres = _centres(n_units * CHROMAS_PER_UNIT, per_unit / CHROMAS_PER_UNIT)
    power = magnitudes(_long_enough(waveforms[1:], centres, long), centres, long).square()
    chroma = torch.stack([power[k] @ _chroma_filters(long, rate, *_CHROMA_HZ[k]) for k in range(2)])
    return UnitPictures(
        mel.unflatten(1, (n_units, FRAMES_PER_UNIT)).permute(1, 0, 3, 2).numpy(),
        chroma.unflatten(1, (n_units, CHROMAS_PER_UNIT)).permute(1, 0, 3, 2).numpy(),
    )


def _centres(n: int, hop: float) -> Tensor:
    return torch.from_numpy(np.rint((np.arange(n) + 0.5) * hop).astype(np.int64))


def _long_enough(waveforms: Tensor, centres: Tensor, n_fft: int) -> Tensor:
    missing = int(centres[-1]) + n_fft - waveforms.shape[1]
    return torch.nn.functional.pad(waveforms, (0, max(0, missing)))


def _mel_filters(n_fft: int, sample_rate: int) -> Tensor:
    """Mel bands up to 11 kHz, the lowest with all that is below it: (n_fft // 2 + 1, N_MEL)."""
    edges = mel_edges(N_MEL, 0.0, _TOP_HZ)
    weight = triangles(n_fft, sample_rate, edges)
    hz = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    weight[:, 0] = np.maximum(weight[:, 0], (hz < edges[1]) & (hz > 20.0))  # kicks and subs, whole
    return torch.from_numpy(unit_sums(weight))


def _chroma_filters(n_fft: int, sample_rate: int, low_hz: float, high_hz: float) -> Tensor:
    """Bins by pitch class, the nearer to a semitone the heavier: (n_fft // 2 + 1, 12)."""
    hz = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    inside = (hz >= low_hz) & (hz < high_hz)
    pitch = 69.0 + 12.0 * np.log2(np.maximum(hz, 1.0) / 440.0)
    nearest = np.rint(pitch)
    weight = np.zeros((len(hz), 12), np.float32)
    weight[np.arange(len(hz)), nearest.astype(int) % 12] = np.maximum(0.0, 1.0 - 2.0 * np.abs(pitch - nearest)) * inside
    return torch.from_numpy(weight)


def to_db(mel: np.ndarray) -> np.ndarray:
    """Magnitudes (U, 3, …) in dB under the loudest, `FLOOR_DB` to about 0."""
    mel = np.nan_to_num(mel.astype(np.float32), posinf=6e4)
    reference = np.percentile(np.sqrt(np.square(mel).sum(axis=1)), 99.5) + 1e-6
    return np.maximum(20.0 * np.log10(mel / reference + 1e-4), FLOOR_DB)
