"""Resampling at any exact ratio, without drift and without loss below 0.47 of the lower rate.

soxr is faster, but its pass band droops (−64 dB of error at 0.45 of the rate, more with every trip) and its
phase drifts at ratios such as 119.92 BPM needs (59 dB after 512 beats): too much for an exact grid.
"""

import math
from fractions import Fraction

import numpy as np

from melformer.audio.extend import FADE_SAMPLES, extend_ends
from melformer.audio.waveform import Waveform, check_sample_rate

BLOCK = 2**17  # source samples transformed at once
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

    Gives float32 (n_out, n_channels). Positions count in source samples and may lie outside: the signal is
    carried on smoothly and fades to silence. `low_pass` None: where step > 1. False: nothing lies above half
    the lower rate anyway, and all below it is kept, so that going to a finer rate and back loses nothing.

    A block is transformed whole, its spectrum moved by the exact fraction of a sample, cut to the lower rate,
    and transformed back with another length: the ratio of the lengths is the ratio of the rates.
    """
    margin = 2 * math.ceil(REACH * max(1.0, float(step)))  # half of it fades, half keeps away from the fade
    n_in, n_back = _block_lengths(step, margin, min(BLOCK, math.ceil(n_out * float(step)) + 2))
    n_block = max(1, int((n_in - 2 * margin - 2) / step))  # outputs that lie safely inside a block
    gain = _gain(n_in, step, step > 1 if low_pass is None else low_pass) * (n_back / n_in)
    out = np.empty((n_out, samples.shape[1]), np.float32)
    n_ends = min(margin, FADE_SAMPLES)
    source = extend_ends(samples, n_ends, n_ends)
    for begin in range(0, n_out, n_block):
        n_here = min(n_block, n_out - begin)
        position = offset + (start + begin) * step
        first = math.floor(position) - margin
        spectrum = np.fft.rfft(_cut(source, first + n_ends, n_in, margin // 2), axis=0)[: len(gain)]
        turn = np.exp(2j * np.pi * np.arange(len(gain)) * (float(position - first) / n_in))
        out[begin : begin + n_here] = np.fft.irfft(spectrum * (gain * turn)[:, None], n_back, axis=0)[:n_here]
    return out


def _block_lengths(step: Fraction, margin: int, n_useful: int) -> tuple[int, int]:
    """Source and output lengths of a block of at least `n_useful` source samples and two margins.

    Their ratio is `step` within 4e-12: less than 1e-5 samples over the longest block.
    """
    ratio = step.limit_denominator(2**19)
    n_blocks = math.ceil((n_useful + 2 * margin + 2) / ratio.numerator)
    return n_blocks * ratio.numerator, n_blocks * ratio.denominator


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
