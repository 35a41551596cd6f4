"""What the beat grid keeps, for the tables of docs/reference/tiaf.md: python -m benchmarks.round_trip [--beats 8]."""

import argparse
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import soxr
from scipy import signal

from melformer.audio.grid import BeatGrid, beats_per_second
from melformer.audio.resample import resample_span
from melformer.audio.tiaf import SAMPLES_PER_BEAT, Tiaf
from melformer.audio.waveform import Waveform
from melformer.evaluate.tables import table

RATES = (22_050, 44_100, 48_000, 96_000)
BPMS = (40.0, 66.15, 119.92, 174.0, 240.0)
LIMIT = 0.45  # of the lower of the two rates
Resampler = Callable[[np.ndarray, Fraction], np.ndarray]


def noise(n_samples: int, n_channels: int, sample_rate: int, below_hz: float, seed: int) -> np.ndarray:
    """Noise with nothing above `below_hz`, float64 (n_samples, n_channels). Its two ends do not meet."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal((n_samples + 4_000, n_channels)), axis=0)
    spectrum[np.fft.rfftfreq(n_samples + 4_000, 1 / sample_rate) > below_hz] = 0
    samples = np.fft.irfft(spectrum, n_samples + 4_000, axis=0)[2_000:-2_000]
    return 0.2 * samples / samples.std()


def snr_db(expected: np.ndarray, actual: np.ndarray) -> float:
    """Power of what was expected over that of the difference."""
    error = np.sum((expected.astype(np.float64) - actual) ** 2)
    return float(10 * np.log10(np.sum(expected.astype(np.float64) ** 2) / max(error, 1e-30)))


def trip(samples: np.ndarray, rate: int, bpm: float, times: int = 1) -> np.ndarray:
    """wav → tiaf → wav, so often."""
    waveform = Waveform(samples.astype(np.float32), rate)
    for _ in range(times):
        waveform = Tiaf.from_waveform(waveform, bpm).to_waveform()
    return waveform.samples


def row(rate: int, bpm: float, n_beats: int, seed: int) -> list[str]:
    """A rate and a tempo: SNR in dB of all, of both ends, after six trips, and of full-band noise below the limit."""
    n_samples = BeatGrid(bpm, rate).edge(n_beats)
    limit = LIMIT * min(rate, SAMPLES_PER_BEAT * beats_per_second(bpm))
    samples = noise(n_samples, 2, rate, limit, seed).astype(np.float32)
    back = trip(samples, rate, bpm)
    ends = [snr_db(samples[part], back[part]) for part in (slice(0, 1_000), slice(-1_000, None))]
    full = noise(n_samples, 2, rate, rate, seed).astype(np.float32)
    taps = signal.firwin(4_001, limit, fs=rate)
    kept, came = (signal.fftconvolve(part, taps[:, None], "valid", axes=0) for part in (full, trip(full, rate, bpm)))
    whole, later, full_band = snr_db(samples, back), snr_db(samples, trip(samples, rate, bpm, 6)), snr_db(kept, came)
    both = ", ".join(f"{end:.0f}" for end in ends)
    return [f"{rate / 1_000:g} kHz, {bpm:g} BPM", f"{whole:.0f}", both, f"{later:.0f}", f"{full_band:.0f}"]


def tone_errors(resample: Resampler, share: float, bpm: str, n_beats: int) -> list[float]:
    """A tone at `share` of 44.1 kHz, brought to the grid: SNR in dB against the tone itself, in the middle half, and in
    the first nine tenths of the last beat."""
    rate = 44_100
    step = BeatGrid(bpm, rate).step(SAMPLES_PER_BEAT)
    n_samples = BeatGrid(float(bpm), rate).edge(n_beats)
    found = resample(np.sin(2 * np.pi * share * np.arange(n_samples)), step)
    wanted = np.sin(2 * np.pi * share * float(step) * np.arange(len(found)))
    middle, last = slice(len(found) // 4, 3 * len(found) // 4), slice(-SAMPLES_PER_BEAT, -SAMPLES_PER_BEAT // 10)
    return [snr_db(wanted[part], found[part]) for part in (middle, last)]


def ours(samples: np.ndarray, step: Fraction) -> np.ndarray:
    return resample_span(samples[:, None], step, 0, int(len(samples) / step))[:, 0]


def soxr_best(samples: np.ndarray, step: Fraction) -> np.ndarray:
    return soxr.resample(samples, float(step), 1.0, quality="VHQ")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="What the beat grid keeps.")
    parser.add_argument("--beats", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    head = ["source", "SNR dB", "first, last 1,000 samples", "after 6 trips", "full-band noise, below the limit"]
    print(table(head, [row(rate, bpm, args.beats, args.seed) for rate in RATES for bpm in BPMS]))
    tones = [
        [f"{name}: a tone at {share:g} of 44.1 kHz, {bpm} BPM, {n} beats", *tone_errors(resample, share, bpm, n)]
        for share, bpm, n in ((0.45, "120", 8), (0.3, "119.92", 512))
        for name, resample in (("Melformer", ours), ("soxr VHQ", soxr_best))
    ]
    print("\n" + table(["to the grid", "SNR dB, middle", "last beat"], tones))


if __name__ == "__main__":
    main()
