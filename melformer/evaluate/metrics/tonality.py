"""Tone: chroma, key, harmonicity and pitch. A blurred tone fools the mel distance and is caught here.

Functions take one channel (n_samples,) and its rate in Hz; spectra use 186 ms windows (8192 at 44.1 kHz).
"""

from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.ndimage import uniform_filter1d

from melformer.evaluate.metrics.distances import channels_of
from melformer.evaluate.metrics.spectra import magnitudes

WINDOW_S = 8192 / 44_100
MIN_TONAL_SHARE = 0.1
LOW_HZ, HIGH_HZ = 50.0, 4_000.0
REACH_BINS = 15
_MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
_MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])


@dataclass(frozen=True)
class Partials:
    """Spectral peaks that stand out: parallel arrays, one entry per peak."""

    frame: np.ndarray  # int (n,)
    hz: np.ndarray  # float (n,), interpolated between bins
    magnitude: np.ndarray  # float (n,)
    n_frames: int


def window_of(sample_rate: int, n_samples: int) -> int:
    """An even window of 186 ms, or less where the clip is shorter than two of them."""
    return 2 * min(round(WINDOW_S * sample_rate / 2), max(8, n_samples // 4))


def partials(samples: np.ndarray, sample_rate: int) -> Partials:
    """Peaks from 50 Hz to 4 kHz, 12 dB above the median of 15 bins each side and within 50 dB of the loudest.

    The frequency is that of a parabola through three log magnitudes: within 2 cents above 100 Hz for a steady
    tone.
    """
    n_fft = window_of(sample_rate, len(samples))
    top = int(HIGH_HZ * n_fft / sample_rate) + REACH_BINS + 2
    level = 20.0 * np.log10(np.maximum(magnitudes(samples, n_fft, n_fft // 4)[:, :top], 1e-7))
    middle = level[:, 1:-1]
    is_peak = (middle > level[:, :-2]) & (middle >= level[:, 2:]) & (middle > level.max() - 50.0)
    frame, k = np.nonzero(is_peak)
    k = k + 1
    around = np.clip(k[:, None] + np.arange(-REACH_BINS, REACH_BINS + 1, 3), 0, level.shape[1] - 1)
    prominent = level[frame, k] > np.median(level[frame[:, None], around], axis=1) + 12.0
    frame, k = frame[prominent], k[prominent]
    left, peak, right = (level[frame, k + i] for i in (-1, 0, 1))
    bend = left - 2.0 * peak + right
    offset = 0.5 * (left - right) / np.where(bend < 0, bend, -1.0)
    hz = (k + np.clip(offset, -0.5, 0.5)) * sample_rate / n_fft
    keep = (hz >= LOW_HZ) & (hz <= HIGH_HZ)
    return Partials(frame[keep], hz[keep], 10.0 ** (peak[keep] / 20.0), len(level))


def steady(peaks: Partials, cents: float = 25.0, reach: int = 2) -> Partials:
    """Partials that also stand 93 ms before or after, within `cents`: tones, not the peaks of noise."""
    keep = np.zeros(len(peaks.hz), bool)
    places = np.split(np.arange(len(peaks.hz)), np.searchsorted(peaks.frame, np.arange(1, peaks.n_frames)))
    for here, there in zip(places, places[reach:], strict=False):
        if len(here) and len(there):
            near = np.abs(1200.0 * np.log2(peaks.hz[here][:, None] / peaks.hz[there])) <= cents
            keep[here] |= near.any(axis=1)
            keep[there] |= near.any(axis=0)
    return Partials(peaks.frame[keep], peaks.hz[keep], peaks.magnitude[keep], peaks.n_frames)


def tonal_share(samples: np.ndarray, sample_rate: int) -> float:
    """Share of the energy from 50 Hz to 4 kHz that steady partials carry: 1 for a chord, < 0.1 for drums."""
    n_fft = window_of(sample_rate, len(samples))
    spectrum = np.square(magnitudes(samples, n_fft, n_fft // 4), dtype=np.float64)
    bins = slice(int(LOW_HZ * n_fft / sample_rate), int(HIGH_HZ * n_fft / sample_rate) + 1)
    total = float(spectrum[:, bins].sum())
    peaks = steady(partials(samples, sample_rate))
    # a Hann window spreads a tone's energy to 1.5 times that of its highest bin
    return min(1.0, 1.5 * float(np.square(peaks.magnitude).sum()) / total) if total > 0 else 0.0


def chromagram(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Magnitude per pitch class, C first, float64 (frames, 12), a frame every 46 ms, averaged over five
    frames.

    From peaks between 50 Hz and 4 kHz and not from bins, so that noise leaves it nearly empty instead of
    flat: the usual chroma of bins gives white noise a cosine of 0.72 to 0.94 with a drum loop. A peak between
    two pitch classes is shared by distance, so that a detuned track does not flip. A4 is 440 Hz.
    """
    peaks = partials(samples, sample_rate)
    place = 12.0 * np.log2(peaks.hz / 440.0) + 9.0
    lower = np.floor(place)
    share = place - lower
    chroma = np.zeros((peaks.n_frames, 12))
    np.add.at(chroma, (peaks.frame, lower.astype(int) % 12), (1.0 - share) * peaks.magnitude)
    np.add.at(chroma, (peaks.frame, (lower.astype(int) + 1) % 12), share * peaks.magnitude)
    return uniform_filter1d(chroma, 5, axis=0)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of two vectors; 1.0 where both are zero, 0.0 where one is."""
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a.ravel() @ b.ravel() / size) if size > 0 else float(not a.any() and not b.any())


def chroma_cosine(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Cosine of the two chromagrams frame by frame, averaged with the reference's tonal energy as weight, 0
    to 1.

    NaN where the reference holds no tone (drums alone): there is nothing to keep.
    """
    a, b = _paired(reference, estimate, sample_rate)
    weight = np.linalg.norm(a, axis=1)
    if weight.sum() == 0.0:
        return float("nan")
    return float(np.sum(weight * [cosine(x, y) for x, y in zip(a, b, strict=True)]) / weight.sum())


def _paired(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    channels_of(reference, estimate)
    return chromagram(reference, sample_rate), chromagram(estimate, sample_rate)


def key_of(chroma: np.ndarray) -> tuple[int, str] | None:
    """Tonic (0 is C) and "major" or "minor" of a mean chroma (12,), None where it is empty.

    Correlation with the profiles of Krumhansl and Kessler 1982.
    """
    if not chroma.any() or np.ptp(chroma) == 0.0:
        return None
    scores = {
        (tonic, mode): np.corrcoef(np.roll(profile, tonic), chroma)[0, 1]
        for mode, profile in (("major", _MAJOR), ("minor", _MINOR))
        for tonic in range(12)
    }
    return max(scores, key=lambda key: scores[key])


def key_agreement(reference: tuple[int, str] | None, estimate: tuple[int, str] | None) -> float:
    """MIREX's score: same key 1, a fifth off 0.5, relative 0.3, parallel 0.2; NaN without a reference."""
    if reference is None:
        return float("nan")
    if estimate is None:
        return 0.0
    step = (estimate[0] - reference[0]) % 12
    if estimate[1] == reference[1]:
        return {0: 1.0, 7: 0.5, 5: 0.5}.get(step, 0.0)
    relative = 9 if reference[1] == "major" else 3
    return {relative: 0.3, 0: 0.2}.get(step, 0.0)


def pitch_error_cents(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Median distance in cents from each steady partial of the reference to the nearest of the estimate, 0 to
    50.

    Weighted by magnitude; a partial without partner within 50 cents counts as 50. NaN where the reference's
    tonal share is under 0.1: the pitch of drums is not measured. Errors: AudioError, as for all of these.
    """
    channels_of(reference, estimate)
    if tonal_share(reference, sample_rate) < MIN_TONAL_SHARE:
        return float("nan")
    a, b = steady(partials(reference, sample_rate)), partials(estimate, sample_rate)
    cents = np.full(len(a.hz), 50.0)
    for frame in np.unique(a.frame):
        mine, other = a.frame == frame, b.hz[b.frame == frame]
        if len(other):
            gaps = np.abs(1200.0 * np.log2(a.hz[mine][:, None] / other)).min(axis=1)
            cents[mine] = np.minimum(50.0, gaps)
    order = np.argsort(cents)
    half = np.searchsorted(np.cumsum(a.magnitude[order]), a.magnitude.sum() / 2.0)
    return float(cents[order][min(half, len(cents) - 1)])


def harmonicity_db(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Harmonic-to-noise ratio per frame in dB, float64 (frames,), −20 to 40; a frame every 46 ms, silence
    −20.

    From the highest peak r of the normalised autocorrelation between 50 and 1000 Hz: 10·log10(r / (1 − r))
    (Boersma 1993). For chords it is the ratio at their common period, so compare two clips, not two songs.
    Held under 25 dB: what is cleaner sounds no cleaner.
    """
    n_fft = 2 * window_of(sample_rate, len(samples)) // 4
    padded = np.pad(samples.astype(np.float32), n_fft // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[:: n_fft // 2]
    window = np.hanning(n_fft)
    power = np.abs(fft.rfft((frames - frames.mean(axis=1, keepdims=True)) * window, 2 * n_fft)) ** 2
    correlation = fft.irfft(power, axis=1)[:, :n_fft]
    own = fft.irfft(np.abs(fft.rfft(window, 2 * n_fft)) ** 2)[:n_fft]
    lags = slice(int(sample_rate / 1000.0), min(int(sample_rate / 50.0), n_fft // 2) + 1)
    energy = correlation[:, :1]
    ratio = correlation[:, lags] / np.maximum(energy, 1e-12) * (own[0] / own[lags])
    # the peak must be a local one: at short lags every low sound correlates with itself
    inner = ratio[:, 1:-1]
    local = np.where((inner > ratio[:, :-2]) & (inner >= ratio[:, 2:]), inner, 0.0).max(axis=1)
    local = np.where(energy[:, 0] > 1e-8 * n_fft, np.clip(local, 0.0099, 0.99685), 0.0099)
    return 10.0 * np.log10(local / (1.0 - local))


def harmonicity_error_db(reference: np.ndarray, estimate: np.ndarray, sample_rate: int, tonal_db: float = 5.0) -> float:
    """Mean change of the harmonic-to-noise ratio in dB (negative: noisier) over frames where the reference
    has tone.

    Tone: a ratio of at least `tonal_db`. NaN where no frame has.
    """
    channels_of(reference, estimate)
    a, b = harmonicity_db(reference, sample_rate), harmonicity_db(estimate, sample_rate)
    tonal = a >= tonal_db
    return float((b - a)[tonal].mean()) if tonal.any() else float("nan")
