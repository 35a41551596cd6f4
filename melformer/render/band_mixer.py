"""Bands of one sound in place of another's, without touching anything else."""

import numpy as np
from scipy import fft

from melformer.codec.losses import REFERENCE_BPM
from melformer.codec.source_scorer import VIEWS

WINDOW_S = 2_048 / 44_100
OVERLAP = 4


class BandMixer:
    """Short-time spectra on a fixed grid of frames, in which bands of other sources replace the first one's.

    What is added to the sound is the sources' *difference* in those bands, so where nothing differs, every sample
    stays as it is, bit for bit. Frame k is centred at sample k · hop of the new part.
    """

    def __init__(self, sample_rate: int, model_bpm: float, n_bands: int, top_hz: float) -> None:
        """`top_hz` is the top of the last band, as heard at 120 BPM; it takes all above as well."""
        self.hop = max(16, 2 ** round(np.log2(WINDOW_S * sample_rate)) // OVERLAP)
        self.n_fft = OVERLAP * self.hop
        phase = 2.0 * np.pi * np.arange(self.n_fft) / self.n_fft
        self.window = (0.5 - 0.5 * np.cos(phase)).astype(np.float32)  # once before and once after the spectrum
        heard = np.fft.rfftfreq(self.n_fft, 1.0 / sample_rate) * (REFERENCE_BPM / model_bpm)
        self.gains = _band_gains(heard, n_bands, top_hz)

    def frames(self, start: int, stop: int) -> np.ndarray:
        """The frames that reach into samples start … stop of the new part; a frame that would begin before the new
        part does is left out, as its fade-in would be cut."""
        first = max(-(-(start - self.n_fft // 2 + 1) // self.hop), OVERLAP // 2)
        return np.arange(first, -(-(stop + self.n_fft // 2) // self.hop))

    def span(self, frames: np.ndarray) -> tuple[int, int]:
        """First and last sample that these frames see."""
        return int(frames[0]) * self.hop - self.n_fft // 2, int(frames[-1]) * self.hop + self.n_fft // 2

    def difference(self, sounds: dict[int, np.ndarray], chosen: np.ndarray, base: np.ndarray) -> np.ndarray:
        """What to add to `base` (span of n consecutive frames, channels) → the same shape.

        `chosen` int (n, n_bands): each band's source, a key of `sounds` (each shaped as `base`), else the base.
        """
        spectra = np.zeros((len(chosen), base.shape[1], self.n_fft // 2 + 1), np.complex64)
        for source, sound in sounds.items():
            wanted = chosen == source
            rows = np.flatnonzero(wanted.any(axis=1))
            segments = np.lib.stride_tricks.sliding_window_view(sound - base, self.n_fft, axis=0)[:: self.hop][rows]
            gains = wanted[rows].astype(np.float32) @ self.gains
            spectra[rows] += fft.rfft(segments * self.window, axis=2) * gains[:, None]
        out = np.zeros_like(base)
        used = np.flatnonzero(spectra.any(axis=(1, 2)))
        waves = fft.irfft(spectra[used], n=self.n_fft, axis=2) * (self.window * (8.0 / (3.0 * OVERLAP)))
        for row, wave in zip(used, waves):
            out[row * self.hop : row * self.hop + self.n_fft] += wave.T
        return out


def _band_gains(hz: np.ndarray, n_bands: int, top_hz: float) -> np.ndarray:
    """Which bins belong to which band, adding up to one: float32 (n_bands, n_bins); `hz` as heard at 120 BPM."""
    per_band = VIEWS[0][2]
    filters = _mels(hz) / _mels(np.array(top_hz)) * (n_bands * per_band + 1)  # 1 is the middle of the first filter
    band = np.clip(((filters - 0.5) // per_band).astype(int), 0, n_bands - 1)
    gains = (band == np.arange(n_bands)[:, None]).astype(np.float32)
    padded = np.pad(gains, ((0, 0), (1, 1)), mode="edge")
    return 0.25 * padded[:, :-2] + 0.5 * padded[:, 1:-1] + 0.25 * padded[:, 2:]  # steps at band edges would ring


def _mels(hz: np.ndarray) -> np.ndarray:
    """Slaney's mel scale: linear below 1 kHz, logarithmic above."""
    return np.where(hz < 1_000.0, hz * 3.0 / 200.0, 15.0 + 27.0 * np.log(np.maximum(hz, 1.0) / 1_000.0) / np.log(6.4))
