"""Distances between sets of embeddings: how far one kind of music is from another to an independent listener."""

from collections.abc import Sequence

import numpy as np

from melformer.errors import AudioError

REGULARISATION = 1e-4  # on the covariances' diagonal: a hundred patches in 200 dimensions have no full rank


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance between the normal distributions of two sets (n, dim), (m, dim); 0 for equal sets.

    Kilgour et al. 2019 (arXiv 1812.08466). It depends on the number of patches, so compare only distances of equally
    many. Errors: AudioError for fewer than two rows, other widths or values that are not finite.
    """
    for rows in (a, b):
        if rows.ndim != 2 or len(rows) < 2 or rows.shape[1] != a.shape[1] or not np.isfinite(rows).all():
            raise AudioError(f"a Fréchet distance needs two sets of finite rows of one width, got {a.shape}, {b.shape}")
    a, b = a.astype(np.float64), b.astype(np.float64)
    size = REGULARISATION * np.eye(a.shape[1])
    covariance_a, covariance_b = (np.cov(rows.T).reshape(size.shape) + size for rows in (a, b))
    values, vectors = np.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    # the trace of (AB)^½ is that of (A^½ B A^½)^½, whose eigenvalues are real
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ covariance_b @ root), 0.0)).sum()
    shift = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    return float(max(0.0, shift + np.trace(covariance_a) + np.trace(covariance_b) - 2.0 * cross))


def mean_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of the mean rows of two sets, −1 to 1; NaN where either is zero or empty."""
    if not len(a) or not len(b):
        return float("nan")
    x, y = a.mean(axis=0, dtype=np.float64), b.mean(axis=0, dtype=np.float64)
    size = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y / size) if size > 0.0 else float("nan")


def relative_frechet(clips: Sequence[np.ndarray], truths: Sequence[np.ndarray], looped: Sequence[np.ndarray]) -> float:
    """Fréchet distance of a system's clips to the true continuations, over that of the looped prompts: 1 is looping.

    Each is a list of (patches, dim) by clip, in one order.
    """
    true = np.concatenate(truths)
    return frechet_distance(np.concatenate(clips), true) / frechet_distance(np.concatenate(looped), true)
