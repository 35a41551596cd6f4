"""The transformer's part of the report: bits per beat and top-1 accuracy, beside predictors that need no training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from melformer.errors import RequestError
from melformer.evaluate import baselines
from melformer.evaluate.metrics.codebook_use import check_codes
from melformer.evaluate.metrics.comparison import nanmean
from melformer.transformer.model import UNKNOWN_BAR_POSITION, BeatTransformer, Conditioning, Prediction

BEATS_AT_ONCE = 4
ROUND_BARS, ROUND_TIMES, MOST_ROUNDS = 2, 3, 24
N_FOLDS = 5


@dataclass(frozen=True)
class CodePassage:
    """A clip's codes int64 (model beats, frames, n_codebooks), the model's tempo, and model beats in a bar."""

    name: str
    codes: np.ndarray
    model_bpm: float
    beats_per_bar: int


@dataclass(frozen=True)
class Bits:
    """Mean bits per model beat; NaN where there is no such beat."""

    all: float
    repeating: float  # beats whose codes equal an earlier beat's
    new: float  # the others, the first beat of each passage left out


@dataclass(frozen=True)
class TransformerReport:
    """Bits per beat of every predictor, and how often the model's likeliest code is the right one."""

    bits: dict[str, Bits]
    top1_per_codebook: list[float]
    top1_repeating: float
    top1_new: float
    n_beats: int
    repeating_share: float
    saved_share: float  # bits on new beats saved against the best baseline, 0 to 1
    top1_round: list[float]  # two bars played round: the second time, the third; [] where no passage has two bars


def measure_transformer(transformer: BeatTransformer, passages: Sequence[CodePassage]) -> TransformerReport:
    """Score the model and the baselines on passages of at least two beats.

    The baselines of a passage are counted and tuned on the other passages (five folds). With hundreds of passages of
    one kind that favours them; with fewer than about fifty their counts starve and the model looks too good.
    Errors: RequestError for fewer than two passages.
    """
    passages = [p for p in passages if len(check_codes(p.codes, transformer.codebook_size)) >= 2]
    if len(passages) < 2:
        raise RequestError(f"{len(passages)} passages of two beats or more are too few to tune baselines on: give 2")
    scored = [score_passage(transformer, passage) for passage in passages]
    bits = {"Melformer": [bits for bits, _ in scored], **_baseline_bits(passages, transformer.codebook_size)}
    repeats = [baselines.repeating(p.codes) for p in passages]
    news = [~r & (np.arange(len(r)) > 0) for r in repeats]
    means = {name: _split(values, repeats, news) for name, values in bits.items()}
    right = np.concatenate([right for _, right in scored])  # (beats, n_codebooks)
    repeat, new = np.concatenate(repeats), np.concatenate(news)
    best = min(value.new for name, value in means.items() if name != "Melformer")
    return TransformerReport(
        bits=means,
        top1_per_codebook=right.mean(axis=0).tolist(),
        top1_repeating=nanmean(list(right[repeat].mean(axis=1))),
        top1_new=nanmean(list(right[new].mean(axis=1))),
        n_beats=len(right),
        repeating_share=float(repeat.mean()),
        saved_share=1.0 - means["Melformer"].new / best,
        top1_round=_top1_round(transformer, passages),
    )


def _top1_round(transformer: BeatTransformer, passages: Sequence[CodePassage]) -> list[float]:
    """How often the likeliest code is right in the first two bars of a passage, once they are played round: the second
    time, when only the music can tell that they will be, and the third. Of the first 24 passages that are long enough.
    """
    right: list[np.ndarray] = []
    for passage in passages:
        n = ROUND_BARS * passage.beats_per_bar
        if len(passage.codes) >= n and len(right) < MOST_ROUNDS:
            again = replace(passage, codes=np.concatenate([passage.codes[:n]] * ROUND_TIMES))
            shares = score_passage(transformer, again)[1].reshape(ROUND_TIMES, -1)
            right.append(shares.mean(axis=1)[1:])
    return np.mean(right, axis=0).tolist() if right else []


def _split(values: Sequence[np.ndarray], repeats: Sequence[np.ndarray], news: Sequence[np.ndarray]) -> Bits:
    flat, repeat, new = np.concatenate(values), np.concatenate(repeats), np.concatenate(news)
    return Bits(float(flat.mean()), nanmean(list(flat[repeat])), nanmean(list(flat[new])))


def _baseline_bits(passages: Sequence[CodePassage], codebook_size: int) -> dict[str, list[np.ndarray]]:
    """Bits per beat of every baseline, one array a passage, in the order of the passages."""
    n_folds = min(N_FOLDS, len(passages))
    bits: dict[str, list[np.ndarray]] = {name: [np.zeros(0)] * len(passages) for name in baselines.BASELINES}
    for fold in range(n_folds):
        here = [i for i in range(len(passages)) if i % n_folds == fold]
        others = [p for i, p in enumerate(passages) if i % n_folds != fold]
        statistics = baselines.count([p.codes for p in others], codebook_size)
        # tuned on passages that were counted too, the counts would look too good: half counts, half tunes
        half = baselines.count([p.codes for p in others[::2]], codebook_size)
        tuning = [baselines.components(p.codes, half, p.beats_per_bar) for p in others[1::2] or others]
        parts = {i: baselines.components(passages[i].codes, statistics, passages[i].beats_per_bar) for i in here}
        for name, components in baselines.BASELINES.items():
            weights = baselines.tune(tuning, components)
            for i in here:
                bits[name][i] = baselines.bits(baselines.mix(parts[i], weights))
    return bits


@torch.inference_mode()
def score_passage(transformer: BeatTransformer, passage: CodePassage) -> tuple[np.ndarray, np.ndarray]:
    """Bits of each beat (n_beats,), and the share of right likeliest codes (n_beats, n_codebooks)."""
    codes = torch.from_numpy(passage.codes)[None]
    n_beats = codes.shape[1]
    positions = torch.arange(n_beats) % passage.beats_per_bar
    known = (
        positions if passage.beats_per_bar <= UNKNOWN_BAR_POSITION else torch.full_like(positions, UNKNOWN_BAR_POSITION)
    )
    conditioning = Conditioning(torch.tensor([math.log2(passage.model_bpm / 120.0)]), known[None])
    bits, right = [], []
    for start in range(0, n_beats, BEATS_AT_ONCE):
        chosen = torch.arange(start, min(start + BEATS_AT_ONCE, n_beats))
        prediction = transformer(codes, conditioning, chosen)
        likelihood = transformer.log_likelihood(prediction, codes, codes, chosen)
        bits.append(-likelihood[0].sum(dim=(1, 2)) / math.log(2.0))
        right.append(_right(transformer, prediction, codes, chosen))
    return torch.cat(bits).numpy(), torch.cat(right).numpy()


def _right(transformer: BeatTransformer, prediction: Prediction, codes: Tensor, chosen: Tensor) -> Tensor:
    """Share of steps whose likeliest code is the right one, per beat and codebook: (K, n_codebooks)."""
    steps = transformer.pattern.to_steps(codes)  # (1, J, S, n_codebooks)
    generated = prediction.logits[0].float().softmax(dim=-1)  # (K, S, n_codebooks, size)
    weights = prediction.pointer[0].exp()  # (K, S, J)
    gate = torch.sigmoid(prediction.gates[0].float())  # (K, S, n_codebooks)
    sources = steps[0].permute(1, 2, 0).expand(len(chosen), -1, -1, -1)  # (K, S, n_codebooks, J)
    spread = gate[..., None] * weights[:, :, None]
    mixed = (1.0 - gate * weights.sum(dim=-1, keepdim=True))[..., None] * generated
    mixed.scatter_add_(3, sources, spread)
    hits = (mixed.argmax(dim=-1) == steps[0, chosen]) & transformer.pattern.present
    return hits.sum(dim=1) / transformer.pattern.present.sum(dim=0)
