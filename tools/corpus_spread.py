"""How varied a corpus sounds: a few features of a waveform, and their spread against real music in a picture."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from scipy.signal import stft

from melformer.audio.io import Waveform, read_waveform

FEATURES = {
    "centroid_hz": "spectral centroid, Hz", "onsets_per_s": "onsets a second", "peaks": "tonal peaks at once",
    "range_db": "loudness range, dB", "repetition": "self-similarity", "low_db": "level below 120 Hz, dB",
    "high_db": "level above 6 kHz, dB", "width_db": "side against middle, dB", "crest_db": "crest, dB",
}  # fmt: skip

# Where Debian's hyperrogue-music, hedgewars-data, freedroidrpg-data and wesnoth-1.16-music lie: for comparing only.
REAL_MUSIC = (
    "/usr/share/hyperrogue/music", "/usr/share/games/hedgewars/Data/Music", "/usr/share/freedroidrpg/data/sound/music",
    "/usr/share/games/wesnoth/1.16/data/core/music",
)  # fmt: skip


def features(waveform: Waveform) -> dict[str, float]:
    """The features named in `FEATURES` of a waveform of 4 s or more; names and units are theirs."""
    rate = waveform.sample_rate
    mono = waveform.mono().samples[:, 0].astype(np.float64)
    hz, _, spectrum = stft(mono, rate, nperseg=2048, noverlap=1536, boundary=None)
    power = np.abs(spectrum) ** 2 + 1e-12
    total = power.sum(axis=0)
    loud = total > total.max() * 1e-5
    centroids = (hz[:, None] * power).sum(axis=0) / total
    mel = _log_bands(power, hz)
    rms = float(np.sqrt(np.mean(mono**2))) + 1e-9
    side = np.diff(waveform.samples[:, :2], axis=1) / 2 if waveform.n_channels > 1 else np.zeros(1)
    return {
        "centroid_hz": float(centroids[loud].mean()),
        "onsets_per_s": _count_onsets(mel) / waveform.duration_s,
        "peaks": _count_peaks(power[:, loud], hz),
        "range_db": _loudness_range(mono, rate),
        "repetition": _repetition(mel[:, ::4]),
        "low_db": _share_db(power, hz < 120),
        "high_db": _share_db(power, hz > 6000),
        "width_db": float(20 * np.log10(np.sqrt(np.mean(side**2)) / rms + 1e-3)),
        "crest_db": float(20 * np.log10(np.abs(mono).max() / rms)),
    }


def _share_db(power: np.ndarray, band: np.ndarray) -> float:
    return float(10 * np.log10(power[band].sum() / power.sum() + 1e-7))


def _log_bands(power: np.ndarray, hz: np.ndarray, count: int = 40) -> np.ndarray:
    """Log energy in `count` bands from 40 Hz to 16 kHz, at most 70 dB under the loudest, (count, n_frames)."""
    edges = np.geomspace(40, 16_000, count + 1)
    places = np.searchsorted(hz, edges)
    bands = np.stack([power[a : max(b, a + 1)].sum(axis=0) for a, b in zip(places[:-1], places[1:], strict=True)])
    level = 10 * np.log10(bands)
    return np.maximum(level, level.max() - 70)


def _count_onsets(mel: np.ndarray) -> int:
    """Peaks of the half-wave rectified flux that stand well above their surroundings."""
    flux = np.maximum(np.diff(mel, axis=1), 0).mean(axis=0)
    threshold = np.convolve(flux, np.ones(43) / 43, "same") + 0.5 * flux.std() + 0.3
    inner = flux[1:-1]
    return int(np.sum((inner > flux[:-2]) & (inner >= flux[2:]) & (inner > threshold[1:-1])))


def _count_peaks(power: np.ndarray, hz: np.ndarray) -> float:
    """Mean count of spectral peaks from 80 to 2,500 Hz within 25 dB of the frame's highest."""
    band = 10 * np.log10(power[(hz > 80) & (hz < 2500)])
    inner = band[1:-1]
    tops = (inner > band[:-2]) & (inner >= band[2:]) & (inner > band.max(axis=0) - 25)
    return float(tops.sum(axis=0).mean())


def _loudness_range(mono: np.ndarray, rate: int) -> float:
    block = int(0.4 * rate)
    levels = 10 * np.log10(np.mean(mono[: len(mono) // block * block].reshape(-1, block) ** 2, axis=1) + 1e-9)
    return float(np.percentile(levels, 95) - np.percentile(levels, 10))


def _repetition(mel: np.ndarray) -> float:
    """The best mean correlation of the bands with themselves a fixed time (1 s to half the length) later."""
    centred = mel - mel.mean(axis=1, keepdims=True)
    centred /= np.linalg.norm(centred, axis=0, keepdims=True) + 1e-9
    lags = range(22, max(23, mel.shape[1] // 2))
    return max(float((centred[:, lag:] * centred[:, :-lag]).sum(axis=0).mean()) for lag in lags)


def excerpts(folders: Iterable[str | Path], length_s: float = 16.0) -> Iterator[Waveform]:
    """Stretches of real music: from every ogg, wav or flac, two at a third and two thirds of its length."""
    files = sorted(f for folder in folders for f in Path(folder).rglob("*") if f.suffix in (".ogg", ".wav", ".flac"))
    for file in files:
        waveform = read_waveform(file, max_s=1800)
        n = int(length_s * waveform.sample_rate)
        for share in (1 / 3, 2 / 3):
            start = int(share * waveform.n_samples)
            if start + n <= waveform.n_samples:
                yield waveform.slice(start, start + n)


def draw_spread(real: list[dict[str, float]], ours: list[dict[str, float]], path: str | Path) -> None:
    """A histogram of every feature, real music against ours, and the share of real music within our middle 98%."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 3, figsize=(11, 7))
    for axis, (name, title) in zip(axes.flat, FEATURES.items(), strict=True):
        theirs, own = (np.array([row[name] for row in rows]) for rows in (real, ours))
        both = np.concatenate([theirs, own])
        low, high = np.percentile(both, [0.5, 99.5])
        bins = np.linspace(float(low), float(high), 28)
        axis.hist(own, bins, density=True, alpha=0.55, label=f"composed ({len(own)})")
        axis.hist(theirs, bins, density=True, histtype="step", color="black", label=f"real music ({len(theirs)})")
        axis.set_title(f"{title}: {100 * covered(theirs, own):.0f}% covered", fontsize=9)
        axis.set_yticks([])
    axes[0, 0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def covered(theirs: np.ndarray, own: np.ndarray) -> float:
    """Share of `theirs` between the 1st and the 99th percentile of `own`."""
    low, high = np.percentile(own, [1, 99])
    return float(np.mean((theirs >= low) & (theirs <= high)))


def spread(
    real_folders: Iterable[str | Path], picture: str | Path, n: int = 200, seed: int = 77
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Compare `n` composed passages (16 s of each) with real music: draw, and give (real, composed) by feature."""
    from melformer.corpus.build import iterate

    real = [features(waveform) for waveform in excerpts(real_folders)]
    ours: list[dict[str, float]] = []
    for _, waveform in iterate(seed, long=0.8):
        if waveform.duration_s >= 7:
            ours.append(features(waveform.slice(0, min(waveform.n_samples, 16 * waveform.sample_rate))))
        if len(ours) == n:
            break
    draw_spread(real, ours, picture)
    return {name: (np.array([row[name] for row in real]), np.array([row[name] for row in ours])) for name in FEATURES}


def print_spread(found: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """A table: 1st, 50th and 99th percentile of real and of composed music, and the share that is covered."""
    print("| feature | real music: 1%, median, 99% | composed: 1%, median, 99% | covered |\n|---|---|---|---|")
    for name, pair in found.items():
        theirs, own = (", ".join(f"{value:.4g}" for value in np.percentile(x, [1, 50, 99])) for x in pair)
        print(f"| {FEATURES[name]} | {theirs} | {own} | {100 * covered(*pair):.0f}% |")


if __name__ == "__main__":
    import sys

    print_spread(spread(sys.argv[2:] or REAL_MUSIC, sys.argv[1]))
