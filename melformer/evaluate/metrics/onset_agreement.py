"""Where sounds begin: onset strength, onset times, and how well two lists of times agree."""

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from melformer.errors import AudioError
from melformer.evaluate.metrics.distances import channels_of
from melformer.evaluate.metrics.spectra import mel_spectrogram

HOP_S = 128 / 44_100  # 2.9 ms between frames, a tenth of the tolerance of 25 ms
WINDOW_S = 1024 / 44_100
LAG_FRAMES = 3  # a rise is measured over 8.7 ms: as long as a drum's attack, shorter than a 64th note
RANGE_DB = 60.0  # what lies further under the clip's peak counts as silent
DELTA_DB = 1.5  # a peak must stand this far above its surroundings; noise moves by less than 1 dB
LATENCY_S = 0.0035  # a window hears an attack before its middle reaches it; on clicks and tones ± 1 ms


def onset_bands(samples: np.ndarray, sample_rate: int, n_mels: int = 48) -> np.ndarray:
    """Rise of level per mel band in dB, float32 (frames, n_mels), a frame every `hop_s(sample_rate)` seconds.

    Spectral flux with a maximum over neighbouring bands, so that vibrato is no onset (SuperFlux, Böck and
    Widmer 2013). Levels are relative to the clip's own peak, so gain does not matter. Silence (below −80
    dBFS) has no rise. `samples` is one channel (n_samples,). Errors: AudioError when it is shorter than half
    a window (12 ms).
    """
    hop_length = round(HOP_S * sample_rate)
    n_fft = 2 * round(WINDOW_S * sample_rate / 2)
    mel = mel_spectrogram(samples, sample_rate, n_fft, hop_length, n_mels)
    if float(np.abs(samples).max()) < 1e-4:
        return np.zeros_like(mel)
    level = 20.0 * np.log10(np.maximum(mel, mel.max() * 10.0 ** (-RANGE_DB / 20.0)))
    before = maximum_filter1d(level, 3, axis=1)
    rise = np.zeros_like(level)
    rise[LAG_FRAMES:] = np.maximum(0.0, level[LAG_FRAMES:] - before[:-LAG_FRAMES])
    rise[-(n_fft // 2 // hop_length) - 1 :] = 0.0  # the reflected end is a bend in every tone, and no onset
    return rise


def hop_s(sample_rate: int) -> float:
    """Exact seconds between two frames of `onset_bands` at this rate."""
    return round(HOP_S * sample_rate) / sample_rate


def onset_times(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Onset times of one channel (n_samples,) in seconds: ascending (n_onsets,), 30 ms or more apart."""
    strength = onset_bands(samples, sample_rate).mean(axis=1)
    hop = hop_s(sample_rate)
    frames = [max(1, round(seconds / hop)) for seconds in (0.03, 0.1)]
    peak = strength >= maximum_filter1d(strength, 2 * frames[0] + 1)
    high = strength > uniform_filter1d(strength, 2 * frames[1] + 1) + DELTA_DB
    picked: list[int] = []
    for frame in np.flatnonzero(peak & high):
        if not picked or frame - picked[-1] > frames[0]:
            picked.append(int(frame))
    return np.maximum(0.0, np.array(picked, dtype=np.float64) * hop + LATENCY_S)


def matches(reference: np.ndarray, estimate: np.ndarray, tolerance_s: float = 0.025) -> int:
    """How many times of two ascending lists pair up one to one within the tolerance: the most that is
    possible.

    Walking both lists together is optimal here, since all tolerances are equal.
    Errors: AudioError when a list is not ascending or not finite.
    """
    for times in (reference, estimate):
        if np.ndim(times) != 1 or not np.isfinite(times).all() or (np.diff(times) < 0).any():
            raise AudioError("onset times must be one ascending list of finite seconds: sort them first")
    i = j = hits = 0
    while i < len(reference) and j < len(estimate):
        gap = estimate[j] - reference[i]
        if abs(gap) <= tolerance_s + 1e-9:
            i, j, hits = i + 1, j + 1, hits + 1
        elif gap > 0:
            i += 1
        else:
            j += 1
    return hits


def f1(n_reference: int, n_estimate: int, n_hits: int) -> float:
    """Harmonic mean of precision and recall; 1.0 when both are empty: nothing to find, nothing invented."""
    return 1.0 if n_reference + n_estimate == 0 else 2.0 * n_hits / (n_reference + n_estimate)


def onset_f1(reference: np.ndarray, estimate: np.ndarray, sample_rate: int, tolerance_s: float = 0.025) -> float:
    """F1 of the estimate's onsets against the reference's, 0 to 1; two channels (n_samples,) of one length.

    The tolerance of 25 ms is half of MIREX's: a 32nd at 120 BPM is 62 ms, and a musician hears 25 ms.
    Errors: AudioError for signals that differ in shape, are empty or not finite.
    """
    channels_of(reference, estimate)
    lists = [onset_times(x, sample_rate) for x in (reference, estimate)]
    return f1(len(lists[0]), len(lists[1]), matches(lists[0], lists[1], tolerance_s))
