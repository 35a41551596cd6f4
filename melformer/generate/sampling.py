"""From a prediction to codes: one function, every draw from an explicit generator."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from melformer.errors import RequestError
from melformer.transformer.model import Prediction

DEEP_COOLING = 0.3
"""How much cooler the deepest codebook is drawn: fine codes refine a sound, and noise in them is only noise."""
_LIMITS = {
    "temperature": (0.0, 3.0), "top_k": (0, 16_384), "top_p": (0.0, 1.0), "min_p": (0.0, 1.0),
    "variation": (0.0, 1.0), "own_sound": (0.0, 1.0),
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """How a continuation is drawn and sounded; may change between two beats of a stream.

    temperature 0..3 (0: always the likeliest), top_k (0: all), top_p and min_p (1 and 0: all), variation 0..1
    (0: keep looping, 0.5: as the music suggests, 1: go somewhere else), own_sound 0..1 (1: the player's own
    samples wherever they fit, 0: all neural). Errors: RequestError for a value out of range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.03
    variation: float = 0.5
    own_sound: float = 1.0

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            bad = isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value)
            if bad or not low <= value <= high:
                raise RequestError(f"{name} is {value!r}; it must be a number from {low:g} to {high:g}.")
        if self.top_p == 0.0 or self.top_k != int(self.top_k):
            raise RequestError("top_p must be above 0 (1 keeps everything), and top_k a whole number.")


def mixture(prediction: Prediction, remembered: Tensor, variation: float) -> Tensor:
    """Probabilities of one step: Prediction (B, 1, 1, …) and codes (B, J, n_codebooks) at that step of the
    remembered beats → (B, n_codebooks, codebook_size). At variation 0 everything that can be copied is.
    """
    generated = prediction.logits[:, 0, 0].float().softmax(dim=-1)
    weights = prediction.pointer[:, 0, 0].exp()  # (B, J)
    share = weights.sum(dim=-1, keepdim=True)
    if variation == 0.0:
        best = torch.zeros_like(weights).scatter_(1, weights.argmax(dim=-1, keepdim=True), 1.0)
        weights, gate = torch.where(share > 0, best, weights), (share > 0).float().expand(-1, generated.shape[1])
        share = (share > 0).float()
    else:
        odds = math.log((1.0 - variation) / variation) if variation < 1.0 else -6.0
        gate = torch.sigmoid(prediction.gates[:, 0, 0].float() + 2.0 * odds)
    copied = torch.zeros_like(generated)
    spread = (gate[:, None] * weights[:, :, None]).transpose(1, 2)  # (B, n_codebooks, J)
    copied.scatter_add_(2, remembered.transpose(1, 2), spread)
    return copied + (1.0 - gate * share)[..., None] * generated


def sample_codes(probabilities: Tensor, settings: Settings, draws: Tensor) -> Tensor:
    """Choose codes: probabilities (B, n_codebooks, size), uniform draws (B, n_codebooks) → int64 (B, n_codebooks)."""
    if settings.temperature == 0.0:
        return probabilities.argmax(dim=-1)
    n_codebooks = probabilities.shape[1]
    cooling = 1.0 - DEEP_COOLING * torch.arange(n_codebooks) / max(1, n_codebooks - 1)
    temperatures = (settings.temperature * cooling).clamp_min(0.05)
    logarithms = (probabilities + 1e-12).log() / temperatures[:, None]
    tempered = logarithms.softmax(dim=-1)
    if settings.min_p:
        tempered = tempered * (tempered >= settings.min_p * tempered.amax(dim=-1, keepdim=True))
    if settings.top_p == 1.0 and settings.top_k == 0:
        return _draw(tempered, draws)  # sorting is the dearest part of a step
    sorted_probabilities, order = tempered.sort(dim=-1, descending=True)
    total = sorted_probabilities.cumsum(dim=-1)
    keep = total - sorted_probabilities < settings.top_p * total[..., -1:]
    if settings.top_k:
        keep[..., int(settings.top_k) :] = False
    return order.gather(-1, _draw(sorted_probabilities * keep, draws)[..., None])[..., 0]


def _draw(weights: Tensor, draws: Tensor) -> Tensor:
    """Where uniform draws fall among weights: (B, n_codebooks, size), (B, n_codebooks) → int64 (B, n_codebooks)."""
    cumulative = weights.cumsum(dim=-1)
    chosen = (cumulative < draws[..., None] * cumulative[..., -1:]).sum(dim=-1)
    return chosen.clamp_max(weights.shape[-1] - 1)
