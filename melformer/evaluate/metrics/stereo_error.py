"""Where sounds stand between the channels, and how far a copy's picture is from the original's."""

from dataclasses import dataclass

import numpy as np

from melformer.evaluate.metrics.distances import channels_of
from melformer.evaluate.metrics.spectra import mel_filters, stft_blocks

N_FFT, HOP = 2048, 512
N_BANDS = 24
BLOCK_FRAMES = 43  # half a second at 44.1 kHz
LIMIT_DB = 30.0  # beyond this a sound stands hard on one side
RANGE_DB = 50.0  # cells further under the loudest one do not count


@dataclass(frozen=True)
class StereoError:
    """Mean differences over the cells that are heard; NaN for mono."""

    level_db: float  # of the level difference between left and right, 0 to 60
    correlation: float  # of the correlation of left and right, 0 to 2


def stereo_error(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> StereoError:
    """Compare the first two channels in 24 mel-spaced bands and half-second blocks, (n_samples, n_channels) both.

    Errors: AudioError for signals that differ in shape, are empty or not finite.
    """
    if len(channels_of(reference, estimate)) < 2:
        return StereoError(float("nan"), float("nan"))
    powers = [_powers(x, sample_rate) for x in (reference, estimate)]
    heard = powers[0][0] + powers[0][1]
    heard = heard > max(float(heard.max()) * 10.0 ** (-RANGE_DB / 10.0), 1e-12)
    if not heard.any():
        return StereoError(0.0, 0.0)
    levels, correlations = zip(*(_picture(*power) for power in powers), strict=True)
    return StereoError(
        level_db=float(np.abs(levels[0] - levels[1])[heard].mean()),
        correlation=float(np.abs(correlations[0] - correlations[1])[heard].mean()),
    )


def _powers(samples: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Power of left, of right, and their cross power, each (blocks, bands)."""
    left, right = (np.concatenate(list(stft_blocks(samples[:, c], N_FFT, HOP))) for c in (0, 1))
    bands = (mel_filters(sample_rate, N_FFT, N_BANDS) > 0).T.astype(np.float32)
    products = (np.abs(left) ** 2, np.abs(right) ** 2, (left * right.conj()).real)
    starts = np.arange(0, len(left), BLOCK_FRAMES)
    sums = [np.add.reduceat(product @ bands, starts, axis=0) for product in products]
    return sums[0], sums[1], sums[2]


def _picture(left: np.ndarray, right: np.ndarray, cross: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Level difference in dB and correlation, (blocks, bands); a silent pair stands in the middle."""
    floor = 1e-12
    level = 10.0 * np.log10((left + floor) / (right + floor))
    size = np.sqrt(left * right)
    correlation = np.where(size > floor, cross / np.maximum(size, floor), 1.0)
    return np.clip(level, -LIMIT_DB, LIMIT_DB), correlation
