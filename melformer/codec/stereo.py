"""Stereo beside a mono codec: where each band stands between the channels, half a beat at a time, in a few bits.

The codec says the middle, (left + right) / 2. Beside it stand, for every half beat and band, the level difference
of the channels and their correlation, as in parametric stereo (Breebaart et al. 2005): width and place, which are
what the ear keeps of two channels. Bands are cut in cycles per beat, so that codes do not depend on the tempo.
A loop whose channels are equal needs no side codes at all.
"""

import math

import numpy as np
import torch
from torch import Tensor

from melformer.audio.grid import beats_per_second, seconds_per_beat

N_BANDS, SLOTS_PER_BEAT = 10, 2
LEVELS_DB = (-25.0, -19.0, -14.0, -10.0, -7.0, -4.0, -2.0, 0.0, 2.0, 4.0, 7.0, 10.0, 14.0, 19.0, 25.0)
CORRELATIONS = (1.0, 0.94, 0.84, 0.6, 0.37, 0.0, -0.4, -0.8)
BITS = 7
"""Of one slot and band: 4 for the level difference, 3 for the correlation."""
_LOWEST, _HIGHEST = 50.0, 6_000.0  # band centres, in cycles per beat: 100 Hz to 12 kHz at 120 BPM
_WINDOW_S = 0.046
_LOUDEST = 4.0  # where the channels nearly cancel, the middle is not raised by more than this
_FLOOR = 1e-10  # of a band's mean power: below −100 dBFS a place is not heard


def side_bits_per_second(model_bpm: float) -> float:
    """The rate of side codes as they stand.

    >>> side_bits_per_second(120.0)
    280.0
    """
    return N_BANDS * BITS * SLOTS_PER_BEAT * beats_per_second(model_bpm)


def is_mono(samples: np.ndarray) -> bool:
    """Whether samples (n, n_channels) have one channel, or only equal ones: then nothing need be said of sides."""
    return bool((samples == samples[:, :1]).all())


def encode_side(samples: np.ndarray, sample_rate: int, model_bpm: float) -> np.ndarray | None:
    """Side codes uint8 (n_slots, N_BANDS, 2) of float32 samples (n, 2): level difference and correlation.

    None where there is nothing to say (`is_mono`). Slots are half beats of the model's tempo from the first sample.
    """
    if is_mono(samples):
        return None
    stft = _Frames(len(samples), sample_rate, model_bpm)
    left, right = stft.analyse(torch.from_numpy(samples[:, :2].T.copy()))
    slots = torch.nn.functional.one_hot(stft.slots).float().T
    powers = [slots @ (power @ stft.bands) for power in (_power(left), _power(right), (left * right.conj()).real)]
    frames_of_slot = slots.sum(dim=1, keepdim=True).clamp_min(1.0)
    ours, theirs, cross = (power / frames_of_slot for power in powers)
    level = 10.0 * ((ours + _FLOOR) / (theirs + _FLOOR)).log10()
    correlation = torch.where(ours * theirs > _FLOOR**2, cross / (ours * theirs).clamp_min(1e-30).sqrt(), 1.0)
    codes = [_nearest(level, LEVELS_DB), _nearest(correlation, CORRELATIONS)]
    return torch.stack(codes, dim=-1).to(torch.uint8).numpy()


def decode_side(middle: np.ndarray, codes: np.ndarray, sample_rate: int, model_bpm: float) -> np.ndarray:
    """Float32 (n, 2) from the middle (n, 1), a whole loop, and its side codes (n_slots, N_BANDS, 2).

    Half the mix of both channels is the middle again, but where they would nearly cancel. Width comes from turning
    the phases of left and right apart, one way and the other in turn along the frequencies (Orban 1970): unlike
    added reverberation, that leaves every partial's level difference as it was said.
    """
    stft = _Frames(len(middle), sample_rate, model_bpm)
    spectra = stft.analyse(torch.from_numpy(middle[:, :1].T.copy()))
    level, correlation = (
        stft.spread(torch.tensor(table)[torch.from_numpy(codes[..., i].astype(np.int64))])
        for i, table in enumerate((LEVELS_DB, CORRELATIONS))
    )
    ratio = 10.0 ** (level / 20.0)  # left over right
    apart = correlation.clamp(-1.0, 1.0).acos() * stft.ways
    middle_power = (ratio.square() + 1.0 + 2.0 * ratio * apart.cos()) / 4.0  # for a right channel of one
    right = torch.minimum(middle_power.clamp_min(1e-6).rsqrt(), _LOUDEST / ratio.clamp_min(1.0))
    of_left = torch.atan2(apart.sin(), ratio + apart.cos())  # so shared out that the sum keeps the middle's phase
    turns = torch.polar(torch.stack([right * ratio, right]), torch.stack([of_left, of_left - apart]))
    return stft.synthesise(spectra * turns).T.contiguous().numpy()


def _power(spectra: Tensor) -> Tensor:
    return spectra.real.square() + spectra.imag.square()


def _nearest(values: Tensor, table: tuple[float, ...]) -> Tensor:
    return (values[..., None] - torch.tensor(table)).abs().argmin(dim=-1)


class _Frames:
    """Short-time spectra of a loop (it goes round its ends), their bands and the slots they lie in."""

    def __init__(self, n_samples: int, sample_rate: int, model_bpm: float) -> None:
        self.n_samples = n_samples
        self.n_fft = 2 ** round(math.log2(_WINDOW_S * sample_rate))
        self.hop = self.n_fft // 4
        self.window = torch.hann_window(self.n_fft)
        self.pad = self.n_fft, -n_samples % self.hop + self.n_fft
        n_frames = 1 + (n_samples + sum(self.pad)) // self.hop
        seconds_per_slot = seconds_per_beat(model_bpm) / SLOTS_PER_BEAT
        self.n_slots = max(1, math.ceil(n_samples / sample_rate / seconds_per_slot - 0.01))
        self.place = (torch.arange(n_frames) * self.hop - self.n_fft) / (sample_rate * seconds_per_slot)
        self.slots = self.place.floor().long() % self.n_slots
        self.bands = self._bands(sample_rate * seconds_per_beat(model_bpm))
        hz = torch.arange(self.n_fft // 2 + 1) * (sample_rate / self.n_fft)
        critical_bands = 21.4 * (1.0 + 0.00437 * hz).log10()  # Glasberg and Moore 1990
        self.ways = (4.0 * torch.sin(torch.pi * critical_bands)).clamp(-1.0, 1.0)

    def _bands(self, samples_per_beat: float) -> Tensor:
        """Triangles between band centres that add up to one: (n_bins, N_BANDS)."""
        centres = torch.linspace(math.log(_LOWEST), math.log(_HIGHEST), N_BANDS)
        cycles = torch.arange(self.n_fft // 2 + 1) * (samples_per_beat / self.n_fft)
        position = (cycles.clamp(_LOWEST, _HIGHEST).log() - centres[0]) / (centres[1] - centres[0])
        return (1.0 - (position[:, None] - torch.arange(N_BANDS)).abs()).clamp_min(0.0)

    def analyse(self, waveforms: Tensor) -> Tensor:
        """(channels, n) → complex (channels, n_frames, n_bins)."""
        around = torch.cat([waveforms[:, torch.arange(-self.pad[0], 0) % self.n_samples], waveforms,
                            waveforms[:, torch.arange(self.pad[1]) % self.n_samples]], dim=1)  # fmt: skip
        spectra = torch.stft(around, self.n_fft, self.hop, window=self.window, return_complex=True)
        return spectra.transpose(1, 2) * (2.0 / self.window.sum())

    def spread(self, values: Tensor) -> Tensor:
        """(n_slots, N_BANDS) → (n_frames, n_bins), changing smoothly from slot centre to slot centre."""
        position = self.place - 0.5
        low = position.floor()
        part = (position - low)[:, None]
        before, after = (values[(low.long() + i) % self.n_slots] for i in (0, 1))
        return (before * (1.0 - part) + after * part) @ self.bands.T

    def synthesise(self, spectra: Tensor) -> Tensor:
        """Complex (channels, n_frames, n_bins) → (channels, n)."""
        scaled = (spectra * (self.window.sum() / 2.0)).transpose(1, 2)
        length = self.n_samples + sum(self.pad)
        around = torch.istft(scaled, self.n_fft, self.hop, window=self.window, length=length)
        return around[:, self.pad[0] : self.pad[0] + self.n_samples]
