"""What the separator reads of a spectrogram: warped bands, and medians that set apart what rings, hits and repeats."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from melformer.stems.grid_stft import BIN_HZ, FRAMES_PER_BEAT

N_LINEAR, N_LOG = 160, 96
N_BANDS = N_LINEAR + N_LOG
TOP_HZ = 22_050.0
N_FEATURES = 9
REACH = 8
"""Frames, or bands, on either side that a running median sees."""


def band_centres() -> np.ndarray:
    """Centres of the bands in bins of 10.77 Hz: 160 single bins, then 96 that grow geometrically, (N_BANDS,)."""
    grow = np.geomspace(N_LINEAR, TOP_HZ / BIN_HZ, N_LOG + 1)[1:]
    return np.concatenate([np.arange(N_LINEAR), grow])


@lru_cache(maxsize=4)
def pooling(n_bins: int) -> Tensor:
    """Triangles that average the power of the upper bins into bands: float32 (n_bins - N_LINEAR, N_LOG)."""
    centres = np.append(band_centres(), band_centres()[-1] * 1.05)[N_LINEAR - 1 :]
    bins = np.arange(N_LINEAR, n_bins)[:, None]
    left, middle, right = centres[:-2], centres[1:-1], centres[2:]
    up, down = (bins - left) / (middle - left), (right - bins) / (right - middle)
    weight = np.maximum(np.minimum(up, down), 0.0)
    weight /= np.maximum(weight.sum(axis=0), 1e-9)
    return torch.from_numpy(weight.astype(np.float32))


def to_bins(bands: Tensor, n_bins: int) -> Tensor:
    """Values of bands read at every bin, by straight lines: (…, N_BANDS) → (…, n_bins)."""
    place = np.interp(np.arange(n_bins), band_centres(), np.arange(N_BANDS))
    low = np.minimum(place.astype(np.int64), N_BANDS - 2)
    part = torch.from_numpy((place - low).astype(np.float32))
    lower = torch.from_numpy(low)
    return torch.lerp(bands[..., lower], bands[..., lower + 1], part)


def pool(spectra: Tensor) -> Tensor:
    """Magnitudes in bands: complex (…, n_bins) → float32 (…, N_BANDS)."""
    power = spectra.real.square() + spectra.imag.square()
    single, many = power[..., :N_LINEAR], power[..., N_LINEAR:] @ pooling(spectra.shape[-1])
    return torch.cat([single, many], dim=-1).clamp(min=1e-20).sqrt()


def features(middle: Tensor, side: Tensor) -> Tensor:
    """Input of the network: magnitudes (B, frames, N_BANDS) of middle and side → (B, N_FEATURES, frames, N_BANDS).

    Log magnitudes relative to the clip's level; medians along time (what rings), along frequency (what hits), over the
    beats around at the same place in the beat and over bars of four (what repeats), taken round the clip's end as a
    loop is; the height of the band; the place in the beat.
    """
    level = (middle.square() + side.square()).mean(dim=(1, 2), keepdim=True).sqrt().clamp(min=1e-9)
    rings = _running_median(middle, 1)
    hits = _running_median(middle, 2)
    beats = _median_of_lags(middle, [k * FRAMES_PER_BEAT for k in (-4, -3, -2, -1, 0, 1, 2, 3, 4)])
    bars = _median_of_lags(middle, [k * 4 * FRAMES_PER_BEAT for k in (-2, -1, 0, 1, 2)])
    logs = [torch.log10(m / level + 1e-3) / 1.5 + 0.7 for m in (middle, side, rings, hits, beats, bars)]
    n_frames, n_bands = middle.shape[1:]
    height = torch.linspace(-1, 1, n_bands).expand_as(middle)
    turn = torch.arange(n_frames)[:, None] * (2 * np.pi / FRAMES_PER_BEAT)
    return torch.stack([*logs, height, turn.cos().expand_as(middle), turn.sin().expand_as(middle)], dim=1)


def _running_median(magnitudes: Tensor, dim: int) -> Tensor:
    """The median of nine neighbours, two frames or bands apart."""
    pad = (0, 0, REACH, REACH) if dim == 1 else (REACH, REACH)
    padded = torch.nn.functional.pad(magnitudes, pad, mode="reflect")
    n = magnitudes.shape[dim]
    return median([padded.narrow(dim, start, n) for start in range(0, 2 * REACH + 1, 2)])


def _median_of_lags(magnitudes: Tensor, lags: list[int]) -> Tensor:
    return median([magnitudes.roll(lag, dims=1) for lag in lags])


_EXCHANGES = {
    5: "01 34 03 14 12 23 12",
    9: "12 45 78 01 34 67 12 45 78 03 58 47 36 14 25 47 42 64 42",
}


def median(values: list[Tensor]) -> Tensor:
    """The median of five or nine tensors of one shape, by a sorting network (Devillard 1998): on whole tensors its few
    minima and maxima take a fiftieth of the time of `torch.median`.

    >>> median([torch.tensor([float(v)]) for v in (3, 1, 5, 4, 9)])
    tensor([4.])
    """
    work = list(values)
    for low, high in ((int(pair[0]), int(pair[1])) for pair in _EXCHANGES[len(work)].split()):
        work[low], work[high] = torch.minimum(work[low], work[high]), torch.maximum(work[low], work[high])
    return work[len(work) // 2]
