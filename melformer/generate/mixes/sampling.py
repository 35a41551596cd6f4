"""From a prediction to codes: one function, every draw from an explicit generator."""

import math
from dataclasses import dataclass

import numpy as np

from melformer.errors import CheckpointError
from melformer.generate.generation_config import check_sampling
from melformer.generate.mixes.step_decoder import StepPrediction

NO_WEIGHT = 1e-6
"""Below it a remembered beat is not worth copying from."""
_LIMITS = {
    "temperature": (0.0, 3.0), "top_k": (0, 16_384), "top_p": (0.0, 1.0), "min_p": (0.0, 1.0),
    "variation": (0.0, 1.0), "own_sound": (0.0, 1.0),
}  # fmt: skip


@dataclass(frozen=True)
class MixConfig:
    """How codes are drawn and sounded.

    temperature: 0 always takes the likeliest, 1 draws from the model's own distribution, both for the codes and for the
    choice between copying and new, 0..3. top_k (0: all), top_p (1: all), min_p (0: all): how much of the tail is left
    out. variation: the odds of new against copied codes, 0..1; at 0.5 the model's own, at 0 all is copied, at 1 nearly
    all is new. own_sound: 1 copies the player's own samples wherever they fit, 0 decodes everything.
    Errors: RequestError for a value out of range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.1
    variation: float = 0.5
    own_sound: float = 1.0

    def __post_init__(self) -> None:
        check_sampling(self, _LIMITS)


def sample_step(prediction: StepPrediction, config: MixConfig, draws: np.ndarray) -> np.ndarray:
    """Choose the codes of one step: uniform draws (B, n_codebooks) → int64 (B, n_codebooks).

    Whether a code is copied or new is drawn first; temperature and limits then sharpen this choice and either part by
    itself. In the mixture of both, `min_p` would leave out nearly all that is new: its many codes are each less likely
    than the few that can be copied. At temperature 1 without limits the codes are those of `mixture`.
    """
    if config.temperature == 0.0:
        return _checked(mixture(prediction, config.variation)).argmax(axis=-1)
    share = _sharper(_copy_shares(prediction, config.variation), config.temperature)
    draws = draws.astype(np.float64)
    is_copied = draws < share
    within = np.where(is_copied, draws / np.maximum(share, 1e-12), (draws - share) / np.maximum(1.0 - share, 1e-12))
    probabilities = np.where(is_copied[..., None], _copied(prediction), _softmax(prediction.logits))
    return sample_codes(_checked(probabilities), config, within)


def _checked(probabilities: np.ndarray) -> np.ndarray:
    """Errors: CheckpointError for NaN, which finite but huge weights come to."""
    if not np.isfinite(np.add.reduce(probabilities, axis=None)):
        raise CheckpointError(
            "The checkpoint's weights come to numbers that are none: it is damaged, or its training went astray. "
            "Use another one."
        )
    return probabilities


def mixture(prediction: StepPrediction, variation: float) -> np.ndarray:
    """Probabilities of one step: float32 (B, n_codebooks, codebook_size)."""
    share, copied = _copy_shares(prediction, variation)[..., None], _copied(prediction)
    copied *= share / np.maximum(np.add.reduce(copied, axis=2, keepdims=True), 1e-12)
    return copied + (1.0 - share) * _softmax(prediction.logits)


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of new codes: float32 (..., codebook_size)."""
    likely = np.exp(logits - np.maximum.reduce(logits, axis=-1, keepdims=True))
    likely /= np.add.reduce(likely, axis=-1, keepdims=True)
    return likely


def _copied(prediction: StepPrediction) -> np.ndarray:
    """Weights of the codes that can be copied: float32 (B, n_codebooks, codebook_size)."""
    weights, (batch, n_books, size) = _weights(prediction), prediction.logits.shape
    rows, beats = np.nonzero(weights)
    entries = (rows[:, None] * n_books + np.arange(n_books)) * size + prediction.codes[rows, beats]
    repeated = np.repeat(weights[rows, beats], n_books)
    copied = np.bincount(entries.ravel(), repeated, batch * n_books * size)
    return copied.reshape(batch, n_books, size).astype(np.float32)


def _copy_shares(prediction: StepPrediction, variation: float) -> np.ndarray:
    """How likely each code is copied (B, n_codebooks): the model's gates, as logits, moved towards copying below
    variation 0.5 and away from it above, times the weight that earlier beats have."""
    odds = math.log((1.0 - variation) / variation) if 0.0 < variation < 1.0 else 6.0 - 12.0 * variation
    gates = 1.0 / (1.0 + np.exp(-(prediction.gates + np.float32(2.0 * odds))))
    return gates * np.add.reduce(_weights(prediction), axis=1)[:, None]


def _weights(prediction: StepPrediction) -> np.ndarray:
    """Weights of the remembered beats, without those that are not worth copying from: (B, J)."""
    return np.where(prediction.weights > NO_WEIGHT, prediction.weights, 0.0)


def _sharper(shares: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities of one of two things, at a temperature."""
    if temperature == 1.0:
        return shares
    with np.errstate(over="ignore"):  # what is without end becomes a probability of 0
        return 1.0 / (1.0 + (1.0 / np.maximum(shares, 1e-12) - 1.0) ** (1.0 / temperature))


def sample_codes(probabilities: np.ndarray, config: MixConfig, draws: np.ndarray) -> np.ndarray:
    """Choose codes: probabilities float32 (B, n, size), uniform draws (B, n) → int64 (B, n).

    Codes that `min_p` leaves out are sorted out before anything else is computed: few remain.
    """
    if config.temperature == 0.0:
        return probabilities.argmax(axis=-1)
    size = probabilities.shape[2]
    lists = probabilities.reshape(-1, size)  # a list for every take and codebook
    most = np.maximum.reduce(lists, axis=1)
    least = most * np.float32(config.min_p**config.temperature if config.min_p else 0.0)
    kept = np.flatnonzero(lists >= least[:, None])
    owners = kept // size
    weights = (lists.ravel()[kept] / most[owners].astype(np.float64)) ** (1.0 / max(config.temperature, 0.05))
    if config.top_p < 1.0 or config.top_k:
        order = np.lexsort((-weights, owners))
        kept, weights = kept[order], _cut(weights[order], owners, config)
    ends = np.cumsum(np.bincount(owners, minlength=len(lists)))
    totals = np.cumsum(weights)
    before = np.concatenate([[0.0], totals[ends[:-1] - 1]])
    wanted = before + draws.ravel() * (totals[ends - 1] - before)
    chosen = np.minimum(np.searchsorted(totals, wanted, side="left"), ends - 1)
    return (kept[chosen] % size).reshape(draws.shape)


def _cut(weights: np.ndarray, owners: np.ndarray, config: MixConfig) -> np.ndarray:
    """Weights of lists that follow each other, each from its heaviest on, with 0 for what top_p and top_k leave out."""
    counts = np.bincount(owners)
    starts = (np.cumsum(counts) - counts)[owners]
    totals = np.cumsum(weights)
    earlier = totals - weights - np.where(starts > 0, totals[starts - 1], 0.0)
    keep = earlier < config.top_p * np.bincount(owners, weights)[owners]
    if config.top_k:
        keep &= np.arange(len(weights)) - starts < config.top_k
    return weights * keep
