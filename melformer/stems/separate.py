"""A loop taken apart: masks on its spectrogram, back to samples, in blocks of constant size."""

import numpy as np
import torch
from torch import Tensor

from melformer.audio.io import Waveform
from melformer.stems.features import N_BANDS, features, pool, to_bins
from melformer.stems.grid_stft import FRAMES_PER_BEAT, frame_centres, window_length
from melformer.stems.separator import Separator
from melformer.stems.stems import STEMS, Stems

BLOCK_BEATS, CONTEXT_BEATS = 32, 4
"""Beats that are separated at once, and those around them that the network also sees."""
SLICE_FRAMES = 96
"""Frames whose spectra are in memory at once."""
SILENT_DB = -36.0
"""A stem whose loudest half second is this far under the mix's is not there: what is left of it is leakage."""


@torch.inference_mode()
def separate(waveform: Waveform, bpm: float, separator: Separator) -> Stems:
    """Drums, bass and other of a loop, at its own rate and with its own channels; their sum is the loop.

    Middle and side have masks of their own, since most drums and basses stand in the middle. "other" is what the masks
    of drums and bass leave, so that the sum is exact to the last bit of float32. A stem that is not in the loop is all
    zeros.
    Errors: TempoError for a BPM out of range.
    """
    samples = torch.from_numpy(np.ascontiguousarray(waveform.samples.T))
    n_fft = window_length(waveform.sample_rate)
    centres = torch.from_numpy(frame_centres(waveform.n_samples, waveform.sample_rate, bpm))
    drums_and_bass = _masked(samples, centres, n_fft, separator)
    return _without_leakage(waveform, drums_and_bass.numpy())


def _masked(samples: Tensor, centres: Tensor, n_fft: int, separator: Separator) -> Tensor:
    """Drums and bass, float32 (2, channels, samples), by weighted overlap-add of blocks of frames."""
    n_channels, n_samples = samples.shape
    total, weight = torch.zeros(2, n_channels, n_samples + 2 * n_fft), torch.zeros(n_samples + 2 * n_fft)
    padded = torch.nn.functional.pad(samples, (n_fft // 2, 3 * n_fft // 2))
    window, block, context = torch.hann_window(n_fft), BLOCK_BEATS * FRAMES_PER_BEAT, CONTEXT_BEATS * FRAMES_PER_BEAT
    whole = len(centres) <= block + 2 * context
    for start in range(0, len(centres), len(centres) if whole else block):
        stop = len(centres) if whole else min(len(centres), start + block)
        first, last = max(0, start - context), min(len(centres), stop + context)
        masks = _masks(padded, centres[first:last], window, separator)[:2, :, start - first : stop - first]
        for k in range(start, stop, SLICE_FRAMES):
            places = _places(centres[k : min(stop, k + SLICE_FRAMES)], n_fft)
            spectra = torch.fft.rfft(padded[:, places] * window)
            bins = to_bins(masks[:, :n_channels, k - start : k - start + len(places)], spectra.shape[-1])
            frames = torch.fft.irfft(_channels(bins * _middle_and_side(spectra)), n_fft) * window
            total.index_add_(2, places.flatten(), frames.flatten(2))
            weight.index_add_(0, places.flatten(), window.square().repeat(len(places)))
    part = slice(n_fft // 2, n_fft // 2 + n_samples)
    return total[..., part] / weight[part].clamp(min=1e-3)


def _middle_and_side(spectra: Tensor) -> Tensor:
    """Half the sum and half the difference of two channels, (2, frames, bins); one channel is its own middle."""
    return spectra if len(spectra) == 1 else torch.stack([spectra[0] + spectra[1], spectra[0] - spectra[1]]) / 2


def _channels(parts: Tensor) -> Tensor:
    """Channels of middles and sides: (stems, parts, frames, bins), of one part or two, the same shape."""
    return parts if parts.shape[1] == 1 else torch.stack([parts[:, 0] + parts[:, 1], parts[:, 0] - parts[:, 1]], dim=1)


def _places(centres: Tensor, n_fft: int) -> Tensor:
    """The padded samples of each frame: int64 (frames, n_fft)."""
    return centres[:, None] + torch.arange(n_fft)


def _masks(padded: Tensor, centres: Tensor, window: Tensor, separator: Separator) -> Tensor:
    """Masks (3, 2, frames, N_BANDS) of a block's frames, for their middle and side."""
    parts = []
    for part in centres.split(SLICE_FRAMES):
        spectra = torch.fft.rfft(padded[:, _places(part, len(window))] * window)
        parts.append(_middle_and_side(spectra))
    middle, side = (*pool(torch.cat(parts, dim=1)), torch.zeros(len(centres), N_BANDS))[:2]
    n_frames = len(middle)
    missing = -n_frames % 16
    read = features(middle[None], side[None])
    read = torch.nn.functional.pad(read, (0, 0, 0, missing), mode="replicate")
    return separator(read)[0, :, :, :n_frames]


def _without_leakage(waveform: Waveform, drums_and_bass: np.ndarray) -> Stems:
    """Stems of which those that are not in the loop are silent; what little they held goes to the loudest."""
    drums, bass = (np.ascontiguousarray(stem.T) for stem in drums_and_bass)
    parts = [drums, bass, waveform.samples - drums - bass]
    loudest = [_loudest_half_second(part, waveform.sample_rate) for part in parts]
    limit = _loudest_half_second(waveform.samples, waveform.sample_rate) * 10 ** (SILENT_DB / 20)
    present = [level > limit for level in loudest]
    rest = int(np.argmax(loudest))
    for k in range(len(STEMS)):
        if not present[k] and k != rest:
            parts[k] = np.zeros_like(parts[k])
    others = [parts[k] for k in range(len(STEMS)) if k != rest]
    parts[rest] = waveform.samples - others[0] - others[1]
    return Stems(*(Waveform(part, waveform.sample_rate) for part in parts))


def _loudest_half_second(samples: np.ndarray, sample_rate: int) -> float:
    size = min(len(samples), sample_rate // 2)
    blocks = samples[: len(samples) // size * size].reshape(-1, size * samples.shape[1])
    return float(np.sqrt(np.square(blocks).mean(axis=1).max()))
