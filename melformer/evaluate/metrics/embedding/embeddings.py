"""Distances between sets of embeddings: how far one kind of music is from another to an independent listener."""

from collections.abc import Sequence

import numpy as np

from melformer.errors import AudioError

REGULARISATION = 1e-4  # on the covariances' diagonal: a hundred patches in 200 dimensions have no full rank


def frechet_distances(sets: Sequence[np.ndarray], reference: np.ndarray) -> list[float]:
    """Fréchet distance between the normal distributions of each set (n, dim) and of a reference (m, dim).

    0 for equal sets; Kilgour et al. 2019 (arXiv 1812.08466). It depends on the number of rows, so compare only
    distances of equally many. Errors: AudioError for fewer than two rows, other widths or values that are not finite.
    """
    mean, covariance = _moments(reference, reference.shape)
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    distances = []
    for rows in sets:
        other_mean, other = _moments(rows, reference.shape)
        # the trace of (AB)^½ is that of (A^½ B A^½)^½, whose eigenvalues are real
        cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other @ root), 0.0)).sum()
        distance = np.square(mean - other_mean).sum() + np.trace(covariance) + np.trace(other) - 2.0 * cross
        distances.append(float(max(0.0, distance)))
    return distances


def _moments(rows: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Mean (dim,) and covariance (dim, dim) of rows as wide as `shape`."""
    if rows.ndim != 2 or len(shape) != 2 or len(rows) < 2 or rows.shape[1] != shape[1] or not np.isfinite(rows).all():
        raise AudioError(f"a Fréchet distance needs two sets of finite rows of one width, got {rows.shape} and {shape}")
    rows = rows.astype(np.float64)
    size = REGULARISATION * np.eye(rows.shape[1])
    return rows.mean(axis=0), np.cov(rows.T).reshape(size.shape) + size


def mean_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of the mean rows of two sets, −1 to 1; NaN where either is zero or empty."""
    if not len(a) or not len(b):
        return float("nan")
    x, y = a.mean(axis=0, dtype=np.float64), b.mean(axis=0, dtype=np.float64)
    size = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y / size) if size > 0.0 else float("nan")
