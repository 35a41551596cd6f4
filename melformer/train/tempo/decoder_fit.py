"""The decoder's weights: fitted by maximum likelihood on clips that the network was not trained on."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from melformer.audio.grid import seconds_per_beat
from melformer.audio.tempo.beat_network import BARS, Weights
from melformer.audio.tempo.decoder import (
    OPTIONS,
    SAME_BPM,
    candidate_shares,
    candidates_of,
    metre_features,
    phase_features,
    softmax,
    tempo_probabilities,
    whole_span,
)
from melformer.audio.tempo.tempo_features import analyse_clip, tempo_features
from melformer.audio.waveform import Waveform
from melformer.train.tempo.tempo_material import ClipGrid

HIDDEN, N_FITS = 16, 5
EXACT_BPM = 0.001  # a length is exact, or is not the loop's
_PHASE_S, _ON_EDGE_S = 0.012, 0.02


@dataclass(frozen=True, eq=False)
class DecoderExample:
    """The decoder's features of one clip, and which candidates, phases and options are right."""

    tempo: np.ndarray
    tempo_right: np.ndarray
    bpms: np.ndarray
    phase: np.ndarray
    phase_right: np.ndarray
    metre: np.ndarray
    metre_right: np.ndarray


def decoder_example(waveform: Waveform, grid: ClipGrid, weights: Weights) -> DecoderExample:
    """Features of a clip, and the truth beside them."""
    clip = analyse_clip(waveform, weights)
    grid = replace(grid, beat_s=grid.beat_s - clip.edges.before_s)
    candidates = candidates_of(clip)
    bpms = np.array([c.bpm for c in candidates])
    by_length = np.array([c.period_s > 0.0 for c in candidates])
    tempi = grid.bpm * np.array([1.0] if grid.octave_known else [0.5, 1.0, 2.0])
    far = np.abs(bpms[:, None] / tempi - 1.0).min(axis=1)
    right = far < np.where(by_length, EXACT_BPM, SAME_BPM)
    span, beat_s = whole_span(clip.edges, grid.bpm), seconds_per_beat(grid.bpm)
    whole = round((span[1] - span[0]) / beat_s) if span else 0
    phases_s, phase = phase_features(clip, grid.bpm, span)
    off = np.abs((phases_s - grid.beat_s + beat_s / 2) % beat_s - beat_s / 2)
    start_s = _first_audible_beat(grid, clip.edges.start_s)
    to_bar = round((grid.beat_s - start_s) / beat_s) % grid.beats_per_bar
    metre = metre_features(clip, grid.bpm, start_s, whole)
    metre_right = np.array([m == grid.metre and o == to_bar for m, o in OPTIONS])
    return DecoderExample(
        tempo_features(clip, candidates).astype(np.float32), right, bpms, phase, off < _PHASE_S, metre, metre_right
    )


def _first_audible_beat(grid: ClipGrid, sound_start_s: float) -> float:
    """As the decoder takes it: the clip's start where a beat lies just before it."""
    beat_s = seconds_per_beat(grid.bpm)
    first = grid.beat_s % beat_s
    if beat_s - first < _ON_EDGE_S and sound_start_s < _ON_EDGE_S:
        return 0.0
    return first + max(0, int(np.ceil((sound_start_s - _ON_EDGE_S - first) / beat_s))) * beat_s


def fit_decoder(
    fit: Sequence[DecoderExample], held: Sequence[DecoderExample], steps: int, decay: float = 1e-3, seed: int = 0
) -> Weights:
    """All weights whose names begin with `decoder.`; clips in `held` only calibrate.

    The score of a tempo is the mean of five fits.
    """
    torch.manual_seed(seed)
    weights = _mean_score([_fit_tempo(fit, steps, decay) for _ in range(N_FITS)])
    weights["decoder.phase.weight"] = _fit_choice([(s.phase, s.phase_right) for s in fit], steps // 2)
    weights["decoder.metre.weight"] = _fit_choice([(s.metre, s.metre_right) for s in fit], steps // 2)
    for name, pairs in judge_all(held, weights).items():
        weights[f"decoder.{name}.calibration"] = _fit_line(*pairs)
    return {name: value.astype(np.float32) for name, value in weights.items()}


def _padded(choices: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[Tensor, Tensor, Tensor]:
    """Features (n, most, k), which are right, which are there."""
    rows = list(choices)
    shape = len(rows), max(len(f) for f, _ in rows)
    x = np.zeros((*shape, rows[0][0].shape[1]), np.float32)
    right, there = np.zeros(shape, bool), np.zeros(shape, bool)
    for i, (features, good) in enumerate(rows):
        x[i, : len(features)], right[i, : len(good)], there[i, : len(features)] = features, good, True
    return torch.from_numpy(x), torch.from_numpy(right), torch.from_numpy(there)


def _fit_tempo(fit: Sequence[DecoderExample], steps: int, decay: float) -> Weights:
    rows = torch.from_numpy(np.concatenate([s.tempo for s in fit]))
    mean, scale = rows.mean(0), rows.std(0).clamp(min=0.05)
    k = rows.shape[-1]
    p = {"linear": torch.zeros(k), "hidden": torch.randn(k, HIDDEN) * 0.1, "hidden_bias": torch.zeros(HIDDEN),
         "out": torch.zeros(HIDDEN), "bias": torch.zeros(1)}  # fmt: skip
    for value in p.values():
        value.requires_grad_(True)
    optimizer = torch.optim.AdamW(list(p.values()), 0.01, weight_decay=0.02)
    order = sorted(range(len(fit)), key=lambda i: len(fit[i].tempo))  # of one length, so that little is padding
    batches = [
        _padded(((fit[i].tempo - mean.numpy()) / scale.numpy(), fit[i].tempo_right) for i in order[s : s + 64])
        for s in range(0, len(order), 64)
    ]
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (1 - step / steps)
        x, right, there = batches[int(torch.randint(len(batches), ()))]
        kept = torch.rand(k) > 0.05  # no single feature carries it alone
        loss = _choice_loss(_scores(x * kept, p), right, there) + decay * sum((v**2).sum() for v in p.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = {f"decoder.tempo.{name}": value.detach().numpy() for name, value in p.items()}
    return {"decoder.tempo.mean": mean.numpy(), "decoder.tempo.scale": scale.numpy(), **found}


def _mean_score(fits: list[Weights]) -> Weights:
    """The mean of several scores as one: it is surer of its place than any of them."""
    first = {name: value for name, value in fits[0].items() if name in ("decoder.tempo.mean", "decoder.tempo.scale")}
    means = {f"decoder.tempo.{n}": np.mean([f[f"decoder.tempo.{n}"] for f in fits], axis=0) for n in ("linear", "bias")}
    beside = {
        f"decoder.tempo.{n}": np.concatenate([f[f"decoder.tempo.{n}"] for f in fits], axis=-1)
        for n in ("hidden", "hidden_bias", "out")
    }
    beside["decoder.tempo.out"] = beside["decoder.tempo.out"] / len(fits)
    return first | means | beside


def _scores(x: Tensor, p: dict[str, Tensor]) -> Tensor:
    return x @ p["linear"] + torch.relu(x @ p["hidden"] + p["hidden_bias"]) @ p["out"] + p["bias"]


def _choice_loss(scores: Tensor, right: Tensor, there: Tensor) -> Tensor:
    """Cross-entropy of the right candidates, or of "none of these" where none is right."""
    scores = torch.cat([scores.masked_fill(~there, -1e9), torch.zeros(len(scores), 1)], 1)
    log_odds = scores - scores.logsumexp(1, keepdim=True)
    good = torch.cat([right & there, ~right.any(1)[:, None]], 1)
    return -(log_odds.masked_fill(~good, -1e9).logsumexp(1)).mean()


def _fit_choice(choices: Iterable[tuple[np.ndarray, np.ndarray]], steps: int) -> np.ndarray:
    """Weights of a softmax over options: (n_features,)."""
    x, right, there = _padded(c for c in choices if c[1].any())
    weight = torch.zeros(x.shape[-1], requires_grad=True)
    optimizer = torch.optim.Adam([weight], 0.05)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * (1 - step / steps)
        scores = (x @ weight).masked_fill(~there, -1e9)
        log_odds = scores - scores.logsumexp(1, keepdim=True)
        value = -(log_odds.masked_fill(~right, -1e9).logsumexp(1)).mean() + 1e-3 * (weight**2).sum()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return weight.detach().numpy()


def judge_all(held: Iterable[DecoderExample], w: Weights) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each kind of answer: its probability before calibration, and whether it was right."""
    pairs: dict[str, list[tuple[float, bool]]] = {"tempo": [], "phase": [], "metre": [], "downbeat": []}
    for s in held:
        for name, pair in _judge(s, w):
            pairs[name].append(pair)
    return {name: (np.array([p for p, _ in rows]), np.array([r for _, r in rows])) for name, rows in pairs.items()}


def _judge(s: DecoderExample, w: Weights) -> Iterator[tuple[str, tuple[float, bool]]]:
    yield "tempo", judge_tempo(s, w)
    odds = softmax(s.phase @ w["decoder.phase.weight"])
    around = (int(odds.argmax()) + np.arange(-6, 7)) % len(odds)
    yield "phase", (min(1.0, float(odds[around].sum())), bool(s.phase_right[around].any()))
    odds = softmax(s.metre @ w["decoder.metre.weight"])
    metres = np.array([metre for metre, _ in OPTIONS])
    shares = [float(odds[metres == k].sum()) for k in range(len(BARS))]
    metre = int(np.argmax(shares))
    yield "metre", (shares[metre], OPTIONS[int(s.metre_right.argmax())][0] == metre)
    best = int(np.where(metres == metre, odds, -1.0).argmax())
    yield "downbeat", (float(odds[best]), bool(s.metre_right[best]))


def judge_tempo(s: DecoderExample, w: Weights) -> tuple[float, bool]:
    """The probability of the likeliest tempo, and whether it is right."""
    shares = candidate_shares(s.tempo, w)
    probabilities = tempo_probabilities(s.bpms, shares)
    best = int(np.lexsort((shares, probabilities.round(6)))[-1])
    return float(probabilities[best]), bool(s.tempo_right[np.abs(s.bpms / s.bpms[best] - 1.0) < SAME_BPM].any())


def _fit_line(probability: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Slope and offset in log-odds that make the probabilities come true (Platt)."""
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    logit = torch.from_numpy(np.log(p / (1 - p)).astype(np.float32))
    truth = torch.from_numpy(right.astype(np.float32))
    line = torch.tensor([1.0, 0.0], requires_grad=True)
    optimizer = torch.optim.Adam([line], 0.02)
    for _ in range(1500):
        value = torch.nn.functional.binary_cross_entropy_with_logits(line[0] * logit + line[1], truth)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return line.detach().numpy()
