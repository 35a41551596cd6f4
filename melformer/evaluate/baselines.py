"""What a transformer must beat: simple predictors of codes, and a tuned mixture of them.

Codes are int64 (beats, frames, n_codebooks). A predictor gives the probability of every code of a passage
from what came before it: earlier beats, and earlier frames of the same beat. Bits per beat are the sum of
−log2 of these.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from melformer.errors import RequestError
from melformer.evaluate.metrics.codebook_use import check_codes

SMOOTHING = 0.1  # pseudo-count of each entry
N_EM_STEPS = 30


@dataclass(frozen=True)
class Statistics:
    """Counts over training passages."""

    unigram: np.ndarray  # (n_codebooks, size)
    bigram: list[dict[int, int]]  # per codebook: previous code · size + code → count
    context: np.ndarray  # (n_codebooks, size): how often a code was a predecessor
    codebook_size: int


def count(passages: Sequence[np.ndarray], codebook_size: int) -> Statistics:
    """Count codes, and their successions from frame to frame. Errors: RequestError for no or wrong codes."""
    if not passages:
        raise RequestError("baselines need at least one passage of codes to count")
    flat = [check_codes(p, codebook_size).reshape(-1, p.shape[2]) for p in passages]
    n_codebooks = flat[0].shape[1]
    unigram, context = (np.zeros((n_codebooks, codebook_size), np.int64) for _ in range(2))
    bigram: list[dict[int, int]] = []
    for q in range(n_codebooks):
        before = np.concatenate([f[:-1, q] for f in flat])
        after = np.concatenate([f[1:, q] for f in flat])
        unigram[q] = np.bincount(np.concatenate([f[:, q] for f in flat]), minlength=codebook_size)
        context[q] = np.bincount(before, minlength=codebook_size)
        keys, counts = np.unique(before * codebook_size + after, return_counts=True)
        bigram.append(dict(zip(keys.tolist(), counts.tolist(), strict=True)))
    return Statistics(unigram, bigram, context, codebook_size)


def unigram(codes: np.ndarray, statistics: Statistics) -> np.ndarray:
    """How common each code is in its codebook."""
    counts = statistics.unigram + SMOOTHING
    share = counts / counts.sum(axis=1, keepdims=True)
    return share[np.arange(codes.shape[2]), codes]


def bigram(codes: np.ndarray, statistics: Statistics) -> np.ndarray:
    """Given the code of the frame before in the same codebook; Witten and Bell's back-off to the unigram."""
    base = unigram(codes, statistics)
    n_beats, n_frames, n_codebooks = codes.shape
    flat, out = codes.reshape(-1, n_codebooks), base.reshape(-1, n_codebooks).copy()
    size = statistics.codebook_size
    for q in range(n_codebooks):
        table = statistics.bigram[q]
        kinds = np.bincount(np.fromiter(table, np.int64, len(table)) // size, minlength=size)
        before, after = flat[:-1, q], flat[1:, q]
        seen = np.array([table.get(key, 0) for key in (before * size + after).tolist()], np.float64)
        total, new = statistics.context[q][before], kinds[before]
        mixed = (seen + new * out[1:, q]) / np.maximum(total + new, 1)
        out[1:, q] = np.where(total > 0, mixed, out[1:, q])
    return out.reshape(n_beats, n_frames, n_codebooks)


def copy(codes: np.ndarray, lag: int) -> np.ndarray:
    """1 where the code stood at the same place `lag` beats earlier, else 0."""
    same = np.zeros(codes.shape)
    if lag < len(codes):
        same[lag:] = codes[lag:] == codes[:-lag]
    return same


def recent(codes: np.ndarray, codebook_size: int) -> np.ndarray:
    """How common each code was in its codebook so far in this passage; uniform at the start."""
    n_beats, n_frames, n_codebooks = codes.shape
    out = np.empty(codes.shape)
    counts = np.full((n_codebooks, codebook_size), SMOOTHING)
    books = np.arange(n_codebooks)
    for beat in range(n_beats):
        out[beat] = (counts / counts.sum(axis=1, keepdims=True))[books, codes[beat]]
        np.add.at(counts, (np.broadcast_to(books, (n_frames, n_codebooks)), codes[beat]), 1.0)
    return out


@dataclass(frozen=True)
class Parts:
    """Component predictors' probabilities for one passage."""

    names: list[str]
    probabilities: np.ndarray  # (n_components, beats, frames, n_codebooks)
    available: np.ndarray  # bool (n_components, beats): a copy from before the start is no prediction


def components(codes: np.ndarray, statistics: Statistics, beats_per_bar: int) -> Parts:
    """Every component for one passage; copies give 0 or 1 and need a mixture.

    Errors: RequestError for codes of a wrong shape, type or range.
    """
    codes = check_codes(codes, statistics.codebook_size)
    bar = beats_per_bar
    lags = {"last beat": 1, "last bar": bar, "last two": 2 * bar, "last four": 4 * bar}
    parts = {
        "unigram": unigram(codes, statistics),
        "bigram": bigram(codes, statistics),
        "recent": recent(codes, statistics.codebook_size),
        **{name: copy(codes, lag) for name, lag in lags.items()},
    }
    first = [lags.get(name, 0) for name in parts]
    available = np.arange(len(codes)) >= np.array(first)[:, None]
    return Parts(list(parts), np.stack(list(parts.values())), available)


def _weighted(parts: Parts, weights: np.ndarray) -> np.ndarray:
    """Weights times probabilities, the weights shared out anew among what is available at each beat."""
    here = weights[:, None] * parts.available[:, :, None]
    here = here / np.maximum(here.sum(axis=0), 1e-12)
    return here[:, :, None] * parts.probabilities


def tune(passages: Sequence[Parts], names: Sequence[str]) -> np.ndarray:
    """Mixture weights of the named components per codebook that make the passages likeliest.

    → float (n_components, n_codebooks), at least 1e-3 for those named, else 0. Expectation maximisation,
    where a component that is not available somewhere is judged by the places where it is.
    """
    named = np.array([[float(name in names)] for name in passages[0].names])
    weights = np.repeat(named / named.sum(), passages[0].probabilities.shape[-1], axis=1)
    for _ in range(N_EM_STEPS):
        earned, asked = np.zeros_like(weights), np.full_like(weights, 1e-9)
        for parts in passages:
            share = _weighted(parts, weights)
            earned += (share / np.maximum(share.sum(axis=0), 1e-12)).sum(axis=(1, 2))
            present = np.einsum("mq,mb->bq", weights, parts.available)
            asked += parts.probabilities.shape[2] * parts.available @ (1.0 / np.maximum(present, 1e-12))
        weights = np.maximum(earned / asked, 1e-3) * named
        weights /= weights.sum(axis=0)
    return weights


def mix(parts: Parts, weights: np.ndarray) -> np.ndarray:
    """Probabilities of the mixture, float (beats, frames, n_codebooks)."""
    return _weighted(parts, weights).sum(axis=0)


BASELINES = {
    "unigram": ("unigram",),
    "bigram": ("bigram",),
    "copy the last beat": ("unigram", "last beat"),
    "copy the last bar": ("unigram", "last bar"),
    "tuned mixture": ("unigram", "bigram", "recent", "last beat", "last bar", "last two", "last four"),
}


def bits(probabilities: np.ndarray) -> np.ndarray:
    """Bits of each beat, (n_beats,)."""
    return -np.log2(np.maximum(probabilities, 1e-9)).sum(axis=(1, 2))


def repeating(codes: np.ndarray, min_share: float = 1.0) -> np.ndarray:
    """Which beats have at least `min_share` of their codes equal to one earlier beat's, bool (n_beats,)."""
    flat = check_codes(codes).reshape(len(codes), -1)
    return np.array([k > 0 and bool(((flat[:k] == flat[k]).mean(axis=1) >= min_share).any()) for k in range(len(flat))])
