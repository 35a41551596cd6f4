"""What codes say about their codebooks: usage, entropy, rate, stability. Codes are int64 (beats, frames,
n_codebooks).

Entropies are in bits and estimated from counts: from N codes no more than log2(N) bits can be seen, so
`entropy_share` divides by the smaller of log2(codebook_size) and log2(N).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from melformer.audio.grid import beats_per_second
from melformer.audio.waveform import Waveform
from melformer.errors import RequestError


@dataclass(frozen=True)
class CodebookUse:
    """One codebook's statistics over a set of codes."""

    used_share: float  # of its entries that occur at all, 0 to 1
    entropy_bits: float
    perplexity: float  # 2 ** entropy: how many entries it is worth
    entropy_share: float  # of the most that so many codes could show, 0 to 1


def check_codes(codes: np.ndarray, codebook_size: int | None = None) -> np.ndarray:
    """Give codes as an integer array (beats, frames, n_codebooks). Errors: RequestError for anything else."""
    codes = np.asarray(codes)
    if codes.ndim != 3 or codes.size == 0 or not np.issubdtype(codes.dtype, np.integer):
        raise RequestError(
            f"codes must be integers of shape (beats, frames, n_codebooks), got {codes.dtype} {codes.shape}"
        )
    if codes.min() < 0 or (codebook_size is not None and codes.max() >= codebook_size):
        raise RequestError(f"codes must lie in 0..{codebook_size}, got {codes.min()}..{codes.max()}")
    return codes


def codebook_use(codes: np.ndarray, codebook_size: int) -> list[CodebookUse]:
    """Statistics per codebook. Errors: RequestError for codes of a wrong shape, type or range."""
    codes = check_codes(codes, codebook_size)
    return [_use(np.bincount(book, minlength=codebook_size)) for book in codes.reshape(-1, codes.shape[2]).T]


def _use(counts: np.ndarray) -> CodebookUse:
    share = counts[counts > 0] / counts.sum()
    entropy = float(-(share * np.log2(share)).sum()) + 0.0  # + 0.0: no "-0.0" in a report
    most = np.log2(min(len(counts), counts.sum()))
    return CodebookUse(len(share) / len(counts), entropy, 2.0**entropy, entropy / most if most > 0 else 1.0)


def bits_per_second(frames_per_beat: int, n_codebooks: int, codebook_size: int, bpm: float = 120.0) -> float:
    """The rate of the codes as they stand, without entropy coding.

    >>> bits_per_second(16, 8, 1024, bpm=120)
    2560.0
    """
    return float(frames_per_beat * n_codebooks * np.log2(codebook_size) * beats_per_second(bpm))


def stability(encode: Callable[[Waveform], np.ndarray], waveform: Waveform) -> dict[str, np.ndarray]:
    """Share of codes per codebook that survive a change nobody hears: {change: float (n_codebooks,)}.

    `encode` gives codes (beats, frames, n_codebooks) for a waveform. Repeats in real music are nearly, not
    exactly, equal; a model can only learn them where their codes are.
    """
    codes = check_codes(encode(waveform))
    return {
        name: (check_codes(encode(changed)) == codes).mean(axis=(0, 1))
        for name, changed in _inaudible_changes(waveform).items()
    }


def _inaudible_changes(waveform: Waveform) -> dict[str, Waveform]:
    """Half a sample later, noise 60 dB under the clip's RMS, and 0.5 dB louder and softer."""
    samples = waveform.samples
    spectrum = np.fft.rfft(samples, axis=0)
    turn = np.exp(-1j * np.pi * np.fft.rfftfreq(len(samples)))[:, None]  # circular: a loop stays whole
    rms = float(np.sqrt(np.square(samples, dtype=np.float64).mean()))
    noise = np.random.default_rng(0).standard_normal(samples.shape).astype(np.float32)
    changed = {
        "half_sample": np.fft.irfft(spectrum * turn, len(samples), axis=0),
        "noise_60db": samples + noise * rms * 1e-3,
        "louder_half_db": samples * 10.0 ** (0.5 / 20.0),
        "softer_half_db": samples * 10.0 ** (-0.5 / 20.0),
    }
    return {name: Waveform(x.astype(np.float32), waveform.sample_rate) for name, x in changed.items()}
