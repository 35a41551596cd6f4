"""Effects on float32 (n_channels, n_samples): filters, drive, compression, delay, reverb, limiting."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.signal import lfilter, sosfilt

from melformer.corpus.synthesis.wavetable import Floats, white

# Added before recursive filters: their state would decay into denormal numbers, which are ten times slower.
_TINY = np.float32(1e-15)
_PIECE = 1 << 15  # long sounds are worked on in pieces that stay in the cache


def biquad(kind: str, cutoff: float, sample_rate: int, q: float = 0.7071, gain_db: float = 0.0) -> Floats:
    """One second-order section (1, 6): "lowpass", "highpass", "bandpass", "peak", "lowshelf" or "highshelf".

    From Bristow-Johnson's audio equalizer cookbook; the cutoff is kept within 15 Hz and 0.47 of the rate.
    """
    w = 2 * np.pi * min(max(cutoff, 15.0), 0.47 * sample_rate) / sample_rate
    cos, alpha, a = np.cos(w), np.sin(w) / (2 * q), 10 ** (gain_db / 40)
    if kind in ("lowpass", "highpass"):
        sign = 1.0 if kind == "highpass" else -1.0
        edge = 1 + sign * cos
        b, den = [edge / 2, -sign * edge, edge / 2], [1 + alpha, -2 * cos, 1 - alpha]
    elif kind == "bandpass":
        b, den = [alpha, 0.0, -alpha], [1 + alpha, -2 * cos, 1 - alpha]
    elif kind == "peak":
        b, den = [1 + alpha * a, -2 * cos, 1 - alpha * a], [1 + alpha / a, -2 * cos, 1 - alpha / a]
    else:
        sign = 1.0 if kind == "lowshelf" else -1.0
        up, down, slope = (a + 1), (a - 1), 2 * np.sqrt(a) * alpha
        here, there = up - sign * down * cos, up + sign * down * cos
        b = [a * (here + slope), sign * 2 * a * (down - sign * up * cos), a * (here - slope)]
        den = [there + slope, -sign * 2 * (down + sign * up * cos), there - slope]
    return (np.array([[*b, *den]]) / den[0]).astype(np.float32)


def filtered(
    waveform: Floats, kind: str, cutoff: float, sample_rate: int, q: float = 0.7071, gain_db: float = 0.0
) -> Floats:
    """The waveform through one `biquad`."""
    return cascaded(waveform, [biquad(kind, cutoff, sample_rate, q, gain_db)])


def cascaded(waveform: Floats, sections: Sequence[Floats]) -> Floats:
    """The waveform through several `biquad`s, one after another, in the time that one takes."""
    return sosfilt(np.concatenate(sections), waveform + _TINY) if sections else waveform


def swept(waveform: Floats, kind: str, cutoffs: NDArray[np.float64], sample_rate: int, block: int = 512) -> Floats:
    """A filter whose cutoff moves: `cutoffs` holds one value for every `block` samples."""
    out = np.empty_like(waveform)
    state = np.zeros((len(waveform), 2), np.float32)
    for i, cutoff in enumerate(cutoffs):
        part = slice(i * block, (i + 1) * block)
        section = biquad(kind, float(cutoff), sample_rate, 0.9)[0]
        out[:, part], state = lfilter(section[:3], section[3:], waveform[:, part] + _TINY, zi=state)
    return out


def middle(waveform: Floats) -> Floats:
    """The mean of one or two channels, (n,); `mean(axis=0)` does the same ten times slower."""
    return waveform[0] if len(waveform) == 1 else np.float32(0.5) * (waveform[0] + waveform[1])


def loudest(waveform: Floats) -> Floats:
    """The larger magnitude of one or two channels, (n,)."""
    return np.abs(waveform[0]) if len(waveform) == 1 else np.maximum(np.abs(waveform[0]), np.abs(waveform[1]))


def drive(waveform: Floats, amount: float) -> Floats:
    """Soft clipping; `amount` 0 leaves quiet sounds alone, 1 is heavy."""
    gain = np.float32(1.0 + 9.0 * amount)
    return np.tanh(waveform * gain) / gain ** np.float32(0.7)


def drive_gain(waveform: Floats, amount: float) -> Floats:
    """The gain that `drive` applies to each sample, as `waveform`."""
    gain = np.float32(1.0 + 9.0 * amount)
    driven = waveform * gain
    small = np.abs(driven) < 1e-4  # tanh(x) / x is 1 there
    return np.where(small, 1.0, np.tanh(driven) / np.where(small, 1.0, driven)) * gain ** np.float32(0.3)


def crush(waveform: Floats, bits: float, hold: int) -> Floats:
    """Fewer bits and a held sample rate, as an old sampler has."""
    steps = np.float32(2.0 ** (bits - 1))
    held = np.repeat(waveform[:, ::hold], hold, axis=1)[:, : waveform.shape[1]]
    return np.round(held * steps) / steps


def compressor_gain(
    waveform: Floats, threshold_db: float, ratio: float, sample_rate: int,
    attack_s: float = 0.008, release_s: float = 0.12,
) -> Floats:  # fmt: skip
    """Gain (n,) that turns down what is louder than the threshold, following the peaks of 128-sample blocks."""
    block, n = 128, waveform.shape[1]
    n_blocks = -(-n // block)
    padded = np.zeros(n_blocks * block, np.float32)
    padded[:n] = loudest(waveform)
    level = 20 * np.log10(padded.reshape(n_blocks, block).max(axis=1) + 1e-6)
    over = np.maximum(level - threshold_db, 0) * (1 - 1 / ratio)
    up, down = (float(np.exp(-block / sample_rate / s)) for s in (attack_s, release_s))
    gain, state = [], 0.0
    for target in over.tolist():
        keep = up if target > state else down
        state = keep * state + (1 - keep) * target
        gain.append(state)
    return _smooth(10 ** (-np.array(gain) / 20), block, n)


def _smooth(values: NDArray[np.float64], block: int, n: int) -> Floats:
    """Straight lines between one value a block, (n,)."""
    nodes: Floats = np.append(values, values[-1]).astype(np.float32)
    ramp: Floats = np.arange(block, dtype=np.float32) / np.float32(block)
    return (nodes[:-1, None] + (nodes[1:] - nodes[:-1])[:, None] * ramp).ravel()[:n]


def chorus(waveform: Floats, depth_s: float, period_s: float, sample_rate: int, mix: float = 0.5) -> Floats:
    """A second and a third player a few milliseconds late, wandering; stereo (2, n) from mono or stereo."""
    n, block = waveform.shape[1], 64
    turn = 2 * np.pi * np.arange(0, n, block) / (period_s * sample_rate)
    longest = int((0.007 + 2 * depth_s) * sample_rate) + 2
    before = np.concatenate([np.zeros(longest, np.float32), middle(waveform)])  # silence to read from at the start
    out = np.empty((2, n), np.float32)
    np.multiply(waveform, np.float32(1 - 0.5 * mix), out=out)
    for side, quarter in enumerate((0.0, 0.25)):
        late = _smooth((0.007 + depth_s * (1 + np.sin(turn + 2 * np.pi * quarter))) * sample_rate, block, n)
        for start in range(0, n, _PIECE):
            piece = slice(start, start + _PIECE)
            out[side, piece] += np.float32(mix) * _delayed(before[start:], late[piece], longest)
    return out


def doubled(waveform: Floats, late_samples: int) -> Floats:
    """As if played twice: at once on the left, a few milliseconds late on the right; stereo (2, n)."""
    out = np.stack([waveform[0], waveform[-1]])
    out[1, late_samples:] = waveform[-1, : waveform.shape[1] - late_samples]
    out[1, :late_samples] = 0
    return out


def _delayed(waveform: Floats, late: Floats, first: int) -> Floats:
    """What `waveform` had at `first`, `first` + 1, … minus `late` samples, by straight lines, (len(late),)."""
    whole = late.astype(np.intp)
    part = late - whole.astype(np.float32)  # a fraction of the delay: float32 cannot hold that of a far place
    place = np.arange(first, first + len(late)) - whole
    near = waveform.take(place)
    place -= 1
    return near + part * (waveform.take(place) - near)


def echo(waveform: Floats, delay_samples: int, feedback: float, sample_rate: int) -> Floats:
    """Echoes only (no dry sound) of a mono signal (n,) from alternate sides, each darker; (2, n)."""
    n, tap, gain, start, side = len(waveform), waveform + _TINY, 1.0, delay_samples, 0
    out = np.zeros((2, n), np.float32)
    keep = np.exp(-2 * np.pi * 4500.0 / sample_rate)
    while gain > 0.05 and start < n:
        tap = lfilter(np.array([1 - keep], np.float32), np.array([1, -keep], np.float32), tap[: n - start])
        out[side, start:] += np.float32(gain) * tap
        out[1 - side, start:] += np.float32(0.35 * gain) * tap
        start, gain, side = start + delay_samples, gain * feedback, 1 - side
    return out


@lru_cache(maxsize=12)
def room(decay_s: float, dark_hz: float, sample_rate: int, seed: int) -> Floats:
    """A stereo impulse response (2, n) of decaying noise whose highs go first, with a few early reflections."""
    rng = np.random.default_rng([seed, 77])
    n = int(min(1.2 * decay_s, 3.5) * sample_rate)
    t = np.arange(n, dtype=np.float32) / sample_rate
    noise = white(rng, (2, n))
    dull = filtered(noise, "lowpass", dark_hz / 3, sample_rate, 0.5)
    response = noise * np.exp(-t * (12 / decay_s)) * 0.35 + dull * np.exp(-t * (6.9 / decay_s))
    response *= np.minimum(t / 0.012, 1.0)
    for _ in range(8):
        place = int(rng.uniform(0.004, 0.05) * sample_rate)
        response[int(rng.integers(2)), min(place, n - 1)] += rng.uniform(-4, 4)
    response = filtered(filtered(response, "lowpass", dark_hz, sample_rate, 0.5), "highpass", 180.0, sample_rate)
    return response / np.sqrt(np.sum(response**2, axis=1, keepdims=True))


def reverb(waveform: Floats, decay_s: float, dark_hz: float, sample_rate: int, seed: int) -> Floats:
    """The room's answer (2, n) to a mono signal (n,)."""
    settings = (decay_s, dark_hz, sample_rate, seed)
    response, n = room(*settings), len(waveform)
    size = 1 << int(np.ceil(np.log2(4 * response.shape[1])))  # by overlap-add: blocks that stay in the cache
    step = size - response.shape[1] + 1
    spectrum = scipy.fft.rfft(response, size)
    out = np.zeros((2, n + size), np.float32)
    for start in range(0, n, step):
        block = scipy.fft.rfft(waveform[start : start + step], size)
        out[:, start : start + size] += scipy.fft.irfft(block * spectrum, size)
    return out[:, :n]


def limiter_gain(waveform: Floats, ceiling: float, sample_rate: int) -> Floats:
    """Gain, as `waveform`, that holds peaks under the ceiling: smooth, with 3 ms of look-ahead."""
    peaks = loudest(waveform)
    if float(peaks.max()) <= ceiling:
        return np.ones_like(waveform)
    block = 32
    n_blocks = -(-len(peaks) // block)
    tops = np.pad(peaks, (0, n_blocks * block - len(peaks))).reshape(n_blocks, block).max(axis=1)
    reach = max(3, int(0.003 * sample_rate / block)) | 1
    needed = np.minimum(1.0, ceiling / np.maximum(maximum_filter1d(tops, 2 * reach + 3), 1e-9))
    gain = _smooth(uniform_filter1d(needed, reach, mode="nearest"), block, len(peaks))
    return gain * np.minimum(1.0, np.float32(ceiling) / np.maximum(np.abs(waveform * gain), 1e-9))
