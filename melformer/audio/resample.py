"""Resampling at any exact ratio, without drift and without loss below 0.47 of the lower rate.

soxr is faster, but its pass band droops (−64 dB of error at 0.45 of the rate, more with every trip) and its
phase drifts at ratios such as 119.92 BPM needs (59 dB after 512 beats): too much for an exact grid.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from scipy import fft

from melformer.audio.extend import FADE_SAMPLES, extend_ends
from melformer.audio.waveform import Waveform, check_sample_rate

BLOCK = 2**17  # useful source samples of one block
REACH = 512  # the filter's impulse response is below 1e-7 from here on, in samples of the lower rate
_CENTRE, _WIDTH = 0.485, 0.0028  # of the lower rate: flat to 1e-7 below 0.47, gone above 0.5


def resample(waveform: Waveform, sample_rate: int) -> Waveform:
    """The same sound at another rate, in round(n_samples · sample_rate / waveform.sample_rate) samples.

    Errors: AudioError for a rate outside 8,000..192,000 Hz.
    """
    rate = check_sample_rate(sample_rate)
    if rate == waveform.sample_rate:
        return waveform
    step = Fraction(waveform.sample_rate, rate)
    n_out = max(1, round(waveform.n_samples / step))
    return Waveform(resample_span(waveform.samples, step, 0, n_out), rate)


def resample_span(
    samples: np.ndarray, step: Fraction, start: int, n_out: int, offset: int = 0, low_pass: bool | None = None
) -> np.ndarray:
    """Read `samples` (n_samples, n_channels) at offset + (start + j)·step, j = 0 … n_out − 1.

    Gives float32 (n_out, n_channels). Positions count in source samples and may lie outside: the signal is carried
    on smoothly and fades to silence. `low_pass` None: where step > 1. False: nothing lies above half the lower
    rate anyway, and all below it is kept, so that going to a finer rate and back loses nothing.

    Each block is transformed, cut to the lower rate, and its Fourier series read at the exact positions.
    """
    margin = 2 * math.ceil(REACH * max(1.0, float(step)))  # half of it fades, half keeps away from the fade
    block = _plan(step, margin, n_out, step > 1 if low_pass is None else low_pass)
    out = np.empty((n_out, samples.shape[1]), np.float32)
    position, last = offset + start * step, offset + (start + n_out - 1) * step
    n_before = min(margin, FADE_SAMPLES) if position < margin else 0
    n_after = min(margin, FADE_SAMPLES) if last > len(samples) - margin else 0
    source = extend_ends(samples, n_before, n_after)
    for begin in range(0, n_out, block.n_out):
        position = offset + (start + begin) * step
        first = math.floor(position) - margin
        segment = _cut(source, first + n_before, block.n_in, margin // 2)
        out[begin : begin + block.n_out] = block.read(segment, float(position - first))[: n_out - begin]
    return out


@dataclass(frozen=True, eq=False)
class _Block:
    """How `n_out` values, `step` apart, are read from `n_in` samples; `gain` (n_bins,) weighs the bins that are kept.

    `n_back` is the length of an inverse transform whose samples are one step apart; 0 where there is none of
    reasonable length, as for 119.924 BPM: then the series is summed as a chirp transform (Bluestein 1970).
    """

    n_in: int
    n_out: int
    step: Fraction
    gain: np.ndarray
    n_back: int

    def read(self, segment: np.ndarray, position: float) -> np.ndarray:
        """The segment (n_in, n_channels) at position + j·step, j < n_out: (n_out, n_channels)."""
        turned = self.gain * np.exp(2j * np.pi * np.arange(len(self.gain)) * (position / self.n_in))
        spectrum = np.fft.rfft(segment, axis=0)[: len(turned)] * turned[:, None]
        if self.n_back:
            return np.fft.irfft(spectrum, self.n_back, axis=0)[: self.n_out] * (self.n_back / self.n_in)
        spectrum[0] /= 2  # the series counts every bin with its mirror image
        return self._sum_series(spectrum).real * (2 / self.n_in)

    def _sum_series(self, spectrum: np.ndarray) -> np.ndarray:
        """Σ_k spectrum[k]·w^(kj) with w = exp(2πi·step/n_in), by 2kj = k² + j² − (j − k)² as one convolution."""
        chirp, kernel = self._chirps
        product = np.fft.fft(spectrum * chirp[: len(spectrum), None], len(kernel), axis=0)
        return np.fft.ifft(product * kernel[:, None], axis=0)[: self.n_out] * chirp[: self.n_out, None]

    @cached_property
    def _chirps(self) -> tuple[np.ndarray, np.ndarray]:
        """w^(m²/2), its phase reduced in whole numbers (as a float, m² would leave nothing of it); and the
        transform of its conjugate at −n_bins < m < n_out."""
        n_bins, n_out = len(self.gain), self.n_out
        period = 2 * self.step.denominator * self.n_in
        phases = np.arange(max(n_bins, n_out)) ** 2 % period * self.step.numerator % period
        chirp = np.exp(2j * np.pi / period * phases)
        kernel = np.zeros(fft.next_fast_len(n_bins + n_out - 1), complex)
        kernel[:n_out] = chirp[:n_out].conj()
        kernel[len(kernel) - n_bins + 1 :] = chirp[1:n_bins].conj()[::-1]
        return chirp, np.fft.fft(kernel)


def _plan(step: Fraction, margin: int, n_out: int, low_pass: bool) -> _Block:
    """Blocks that yield `n_out` values, or as many as are worth transforming at once.

    The step is rounded to a ratio of whole numbers within 4e-12, less than 1e-5 samples over the longest block.
    """
    step = step.limit_denominator(2**19)
    n_needed = min(BLOCK, math.ceil(n_out * float(step)) + 2) + 2 * margin + 2
    n_periods = fft.next_fast_len(math.ceil(n_needed / step.numerator))
    n_in, n_back = step.numerator * n_periods, step.denominator * n_periods
    if n_in > 1.3 * n_needed or max(step.numerator, step.denominator) > 2**12:
        n_in, n_back = fft.next_fast_len(n_needed), 0
    n_safe = int((n_in - 2 * margin - 2) / step)  # further on the margin begins
    return _Block(n_in, min(n_out, n_safe), step, _gain(n_in, step, low_pass), n_back)


def _gain(n_in: int, step: Fraction, low_pass: bool) -> np.ndarray:
    """One for every bin below half the lower rate; as a low-pass, with a slope that rings briefly."""
    lower = min(1.0, 1.0 / float(step))
    n_bins = math.ceil(n_in * 0.5 * lower)
    if not low_pass:
        return np.ones(n_bins)
    n_flat = int(n_in * (_CENTRE - 6 * _WIDTH) * lower)
    slope = (np.arange(n_flat, n_bins) / (n_in * lower) - _CENTRE) / (_WIDTH * math.sqrt(2))
    return np.concatenate([np.ones(n_flat), [0.5 * math.erfc(value) for value in slope]])


def _cut(source: np.ndarray, first: int, n_in: int, n_fade: int) -> np.ndarray:
    """`n_in` samples of `source` from `first` on, faded at both ends (a cut would ring), silence outside."""
    block = np.zeros((n_in, source.shape[1]))
    low, high = max(first, 0), min(first + n_in, len(source))
    if low < high:
        block[low - first : high - first] = source[low:high]
    fade = 0.5 - 0.5 * np.cos(np.pi * (np.arange(n_fade) + 0.5) / n_fade)
    block[:n_fade] *= fade[:, None]
    block[n_in - n_fade :] *= fade[::-1, None]
    return block
