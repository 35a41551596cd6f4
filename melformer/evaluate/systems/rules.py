"""Three rules that know nothing of music: median-filter stems, their bars shifted or exchanged.

They cost nothing, sound like the loop entered elsewhere, and are nearer to what really follows than many a model: a
model is worth having only where it is better. The stems are the reference point of separation as well.
"""

from collections.abc import Mapping

import numpy as np

from melformer.audio.grid import beat_edges
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError

N_FFT, HOP_LENGTH = 2048, 512
MEDIAN = 31  # frames, and bins
SPLIT_HZ = 180.0  # between bass and other
JOIN_S = 0.01
BarOrders = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Which of four bars sounds when: drums, bass, other."""
RULES: dict[str, BarOrders] = {
    "rule": ((0, 1, 2, 3), (2, 3, 0, 1), (2, 3, 0, 1)),
    "rule, half": ((0, 1, 2, 3), (0, 3, 2, 1), (0, 3, 2, 1)),
    "rule, a quarter": ((0, 1, 2, 3), (0, 1, 0, 3), (0, 3, 2, 3)),
}


def median_filter_stems(waveform: Waveform) -> dict[str, Waveform]:
    """Drums, bass and other by running medians (Fitzgerald 2010) and a split at 180 Hz; they add up to the waveform.

    What is smooth along frequency is a hit, what is smooth along time is a tone; tones below 180 Hz are the bass.
    """
    import librosa
    from scipy.ndimage import median_filter

    rate, n_samples = waveform.sample_rate, waveform.n_samples
    spectra = [
        librosa.stft(np.ascontiguousarray(channel), n_fft=N_FFT, hop_length=HOP_LENGTH)
        for channel in waveform.samples.T
    ]
    size = np.mean([np.abs(spectrum) for spectrum in spectra], axis=0)  # (bins, frames)
    tones, hits = median_filter(size, (1, MEDIAN)) ** 2, median_filter(size, (MEDIAN, 1)) ** 2
    drums = hits / (tones + hits + 1e-9)
    low = (np.fft.rfftfreq(N_FFT, 1.0 / rate) < SPLIT_HZ)[:, None]
    stems = {}
    for name, mask in (("drums", drums), ("bass", (1.0 - drums) * low)):
        channels = [librosa.istft(mask * s, hop_length=HOP_LENGTH, n_fft=N_FFT, length=n_samples) for s in spectra]
        stems[name] = Waveform(np.stack(channels, axis=1).astype(np.float32), rate)
    rest = waveform.samples - stems["drums"].samples - stems["bass"].samples
    return {**stems, "other": Waveform(rest, rate)}


def apply_rule(stems: Mapping[str, Waveform], bpm: float, n_prompt: int, n_new: int, bars: BarOrders) -> Waveform:
    """`n_new` beats from the stems of a prompt of `n_prompt`: the bars of each in the given order, joins of 10 ms.

    A bar is a quarter of the prompt. Errors: AudioError for a prompt that has no four bars of whole beats.
    """
    if n_prompt % 4:
        raise AudioError(f"the rules take prompts of four bars, got {n_prompt} beats")
    bar, rate = n_prompt // 4, next(iter(stems.values())).sample_rate
    places = np.arange(n_new)
    orders = dict(zip(("drums", "bass", "other"), bars, strict=True))
    parts = [
        arrange_beats(stem.samples, np.array(orders[name])[places // bar % 4] * bar + places % bar, bpm, n_prompt, rate)
        for name, stem in stems.items()
    ]
    return Waveform(np.sum(parts, axis=0), rate)


def arrange_beats(samples: np.ndarray, sources: np.ndarray, bpm: float, n_prompt: int, sample_rate: int) -> np.ndarray:
    """Beats of a loop one after the other: samples (n, channels), source beats (n_new,) → (n_new beats, channels).

    Where a beat does not follow its forerunner in the loop, the forerunner's own next 10 ms fade out below it.
    """
    old, new = beat_edges(n_prompt, bpm, sample_rate), beat_edges(len(sources), bpm, sample_rate)
    n_loop, n_fade = len(samples), round(JOIN_S * sample_rate)
    ramp = np.sin(np.linspace(0.0, np.pi / 2, n_fade, dtype=np.float32))[:, None] ** 2
    out = np.zeros((new[-1], samples.shape[1]), np.float32)
    for place, beat in enumerate(sources):
        start, stop = new[place], new[place + 1]
        part = samples[(old[beat] + np.arange(stop - start)) % n_loop]
        if place and beat != (sources[place - 1] + 1) % n_prompt:
            before = old[sources[place - 1]] + start - new[place - 1]
            tail = samples[(before + np.arange(n_fade)) % n_loop]
            part[:n_fade] = part[:n_fade] * ramp + tail * (1.0 - ramp)
        out[start:stop] = part
    return out
