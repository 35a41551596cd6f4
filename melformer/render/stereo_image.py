"""Where the decoder's mono sound stands in the prompt's picture: level, colour and width, band by band."""

import numpy as np
from scipy import special

N_BANDS = 24
LOWEST_HZ = 60.0
_LIMIT_DB = 9.0
_SWING_S = 0.004
"""The period in which the channels' phases swing apart, as 1 over Hz: short enough to keep an attack in one piece."""
_MOST_SWING = 0.8
"""In radians: mixed to mono, no frequency loses more than 3 dB, and the channels still correlate by 0.46."""


def channel_gains(
    prompt: np.ndarray, sample_rate: float, decoded: np.ndarray, decoded_rate: float, frequencies: np.ndarray
) -> np.ndarray:
    """Gains that give the decoder's sound the prompt's level in every band and channel.

    `prompt` (n, channels) and `decoded` (n, 1) are the same music, each with its rate in Hz → float32 (channels,
    len(frequencies)). The decoder's samples are measured, not its spectra: frames whose phases disagree lose energy
    where they overlap.
    """
    edges, centres = _bands()
    power, hz = mean_power(prompt, sample_rate)
    theirs = _in_bands(power, hz, edges)  # (N_BANDS, channels)
    power, hz = mean_power(decoded, decoded_rate)
    ours = _in_bands(power, hz, edges)
    overall = np.sqrt(theirs.sum(axis=0) / max(float(ours.sum()), 1e-12))
    floor = 1e-7 * float(ours.sum()) + 1e-12
    gains = np.where(ours > floor, np.sqrt(theirs / np.maximum(ours, floor)), overall)
    limit = 10.0 ** (_LIMIT_DB / 20.0)
    loudest = max(float(overall.max()), 1e-6)
    gains = np.clip(gains, 0.0, loudest * limit)
    fine = np.stack([np.interp(hz, centres, gains[:, c]) for c in range(gains.shape[1])])
    reached = (fine**2 * power[:, 0]).sum(axis=1)  # where a band was clipped, the others make up for it
    fine = np.stack([np.interp(frequencies, centres, gains[:, c]) for c in range(gains.shape[1])])
    return (fine * np.sqrt(theirs.sum(axis=0) / np.maximum(reached, 1e-12))[:, None]).astype(np.float32)


def channel_phases(prompt: np.ndarray, sample_rate: float, frequencies: np.ndarray) -> np.ndarray:
    """Turns that make one sound as wide as the prompt: float32 (channels, len(frequencies)), in radians.

    The channels' phases swing apart and together along the frequencies. Swinging by ±a, two equal channels correlate
    by J0(2a), so `a` follows from the prompt's correlation in each band: 0 where its channels agree. No delay, no
    state, and the levels stay. A prompt that is not stereo gives 0 everywhere.
    """
    if prompt.shape[1] != 2:
        return np.zeros((prompt.shape[1], len(frequencies)), np.float32)
    edges, centres = _bands()
    both = np.concatenate([prompt, prompt.sum(axis=1, keepdims=True)], axis=1)
    power, hz = mean_power(both, sample_rate)
    left, right, total = _in_bands(power, hz, edges).T
    correlation = 0.5 * (total - left - right) / np.maximum(np.sqrt(left * right), 1e-12)
    depths = np.linspace(0.0, _MOST_SWING, 81)
    table = special.j0(2.0 * depths)
    depth = np.interp(-np.where(left * right > 1e-20, correlation, 1.0), -table, depths)
    swing = np.interp(frequencies, centres, depth) * np.sin(2.0 * np.pi * frequencies * _SWING_S)
    return np.stack([swing, -swing]).astype(np.float32)


def _bands() -> tuple[np.ndarray, np.ndarray]:
    """Edges (N_BANDS + 1,) and middles (N_BANDS,) in Hz."""
    edges = np.concatenate([[0.0], np.geomspace(LOWEST_HZ, 20_000.0, N_BANDS)])
    return edges, np.concatenate([[LOWEST_HZ / 2.0], np.sqrt(edges[1:-1] * edges[2:])])


def mean_power(samples: np.ndarray, sample_rate: float, n_fft: int = 2_048) -> tuple[np.ndarray, np.ndarray]:
    """Mean power of each bin, their sum the mean square: (n, channels) → (n_bins, channels), and Hz (n_bins,)."""
    window = np.hanning(n_fft + 1)[:-1].astype(np.float32)
    padded = np.pad(samples, ((0, max(0, n_fft - len(samples))), (0, 0)))
    segments = np.lib.stride_tricks.sliding_window_view(padded, n_fft, axis=0)[:: n_fft // 2]
    spectra = np.abs(np.fft.rfft(segments * window, axis=-1)) ** 2  # (T, channels, n_bins)
    power = 2.0 * spectra.mean(axis=0).T / (n_fft * float((window**2).sum()))
    return power, np.fft.rfftfreq(n_fft, 1.0 / sample_rate)


def _in_bands(power: np.ndarray, hz: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Power summed in bands: (n_bins, channels) → (len(edges) − 1, channels); the last band takes all above."""
    band = np.clip(np.searchsorted(edges, hz, side="right") - 1, 0, len(edges) - 2)
    out = np.zeros((len(edges) - 1, power.shape[1]))
    np.add.at(out, band, power)
    return out
