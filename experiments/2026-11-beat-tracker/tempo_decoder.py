"""The decoder's weights: fitted by maximum likelihood on clips that the network was not trained on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from candidates import find_candidates
from clip_features import take_apart, tempo_features
from decode import OPTIONS, metre_features, phase_features
from mel import FRAMES_PER_S
from tempo_material import SAMPLE_RATE, Grid, load_examples
from torch import Tensor

from melformer.audio.grid import seconds_per_beat
from melformer.audio.waveform import Waveform

SAME = 0.004
_HIDDEN = 16


@dataclass(frozen=True, eq=False)
class Seen:
    """One clip as the decoder sees it, and which candidates, phases and options are right."""

    tempo: np.ndarray
    tempo_right: np.ndarray
    phase: np.ndarray
    phase_right: np.ndarray
    metre: np.ndarray
    metre_right: np.ndarray
    octave: np.ndarray


def see(waveform: Waveform, grid: Grid, weights: dict[str, np.ndarray]) -> Seen:
    """Features of a clip, and the truth beside them."""
    clip = take_apart(waveform, weights)
    candidates = find_candidates(clip.beat, clip.edges, clip.repeats, [])
    bpms = np.array([c.bpm for c in candidates])
    right = np.abs(bpms / grid.bpm - 1.0) < SAME
    octave = np.min([np.abs(bpms / (grid.bpm * f) - 1.0) for f in (0.5, 2.0)], axis=0) < SAME
    spans = [c for c, good in zip(candidates, right) if good and c.span]
    whole = max((c.whole or c.trimmed for c in spans), default=0)
    beat_s = seconds_per_beat(grid.bpm)
    phases_s, phase = phase_features(clip, grid.bpm, spans[0].span if spans else None)
    off = np.abs((phases_s - grid.beat_s + beat_s / 2) % beat_s - beat_s / 2)
    first = grid.beat_s % beat_s
    n_skipped = max(0, int(np.ceil((clip.edges.start_s - 0.02 - first) / beat_s)))
    start_s = first + n_skipped * beat_s
    if beat_s - first < 0.02 and clip.edges.start_s < 0.02:
        start_s = 0.0  # as the decoder takes a beat just before the clip
    to_bar = round((grid.beat_s - start_s) / beat_s) % grid.beats_per_bar
    metre = metre_features(clip, grid.bpm, start_s, whole)
    metre_right = np.array([m == grid.metre and o == to_bar for m, o in OPTIONS])
    return Seen(tempo_features(clip, candidates), right, phase, off < 0.012, metre, metre_right, octave)


def see_all(folder: Path, weights: dict[str, np.ndarray]) -> list[Seen]:
    """Every clip of a folder of examples with sound."""
    seen = []
    for samples, grid, _, _ in load_examples(sorted(folder.glob("*.npz"))):
        waveform = Waveform(samples.astype(np.float32) / 32_767.0, SAMPLE_RATE)
        if np.abs(waveform.samples).max() > 0:
            seen.append(see(waveform, grid, weights))
    return seen


def fit_decoder(seen: Sequence[Seen], steps: int = 400) -> dict[str, np.ndarray]:
    """All weights whose names begin with `decoder.`; the last third of the clips only calibrates."""
    torch.manual_seed(0)
    order = np.random.default_rng(0).permutation(len(seen))
    n_fit = len(seen) * 2 // 3
    fit, held = [seen[i] for i in order[:n_fit]], [seen[i] for i in order[n_fit:]]
    weights = _fit_tempo(fit, steps)
    weights["decoder.phase.weight"] = _fit_choice([(s.phase, s.phase_right) for s in fit], steps)
    weights["decoder.metre.weight"] = _fit_choice([(s.metre, s.metre_right) for s in fit], steps)
    for name, pairs in _held_out(held, weights).items():
        weights[f"decoder.{name}.calibration"] = _fit_line(*pairs)
    return {name: value.astype(np.float32) for name, value in weights.items()}


def _padded(choices: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[Tensor, Tensor, Tensor]:
    """Features (n, most, k), which are right, which are there."""
    rows = list(choices)
    most, k = max(len(f) for f, _ in rows), rows[0][0].shape[1]
    x, right, there = (
        np.zeros((len(rows), most, k), np.float32),
        np.zeros((len(rows), most), bool),
        np.zeros((len(rows), most), bool),
    )
    for i, (features, good) in enumerate(rows):
        x[i, : len(features)], right[i, : len(good)], there[i, : len(features)] = features, good, True
    return torch.from_numpy(x), torch.from_numpy(right), torch.from_numpy(there)


def _fit_tempo(fit: Sequence[Seen], steps: int) -> dict[str, np.ndarray]:
    x, right, there = _padded((s.tempo, s.tempo_right) for s in fit)
    rows = x[there]
    mean, scale = rows.mean(0), rows.std(0).clamp(min=0.05)
    x = (x - mean) / scale
    k = x.shape[-1]
    p = {"linear": torch.zeros(k), "hidden": torch.randn(k, _HIDDEN) * 0.1, "hidden_bias": torch.zeros(_HIDDEN),
         "out": torch.zeros(_HIDDEN), "bias": torch.zeros(1)}  # fmt: skip
    for value in p.values():
        value.requires_grad_(True)
    optimizer = torch.optim.AdamW(list(p.values()), 0.01, weight_decay=0.02)
    exists = right.any(1)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (1 - step / steps)
        kept = torch.rand(x.shape[-1]) > 0.05  # no single feature carries it alone
        z = x * kept
        scores = z @ p["linear"] + torch.relu(z @ p["hidden"] + p["hidden_bias"]) @ p["out"] + p["bias"]
        scores = torch.cat([scores.masked_fill(~there, -1e9), torch.zeros(len(x), 1)], 1)
        log_odds = scores - scores.logsumexp(1, keepdim=True)
        good = torch.cat([right & there, ~exists[:, None]], 1)
        value = -(log_odds.masked_fill(~good, -1e9).logsumexp(1)).mean() + 2e-4 * sum((v**2).sum() for v in p.values())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    found = {f"decoder.tempo.{name}": value.detach().numpy() for name, value in p.items()}
    return {"decoder.tempo.mean": mean.numpy(), "decoder.tempo.scale": scale.numpy(), **found}


def _fit_choice(choices: Sequence[tuple[np.ndarray, np.ndarray]], steps: int) -> np.ndarray:
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


def _held_out(held: Sequence[Seen], w: dict[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each kind of answer: its probability as given, and whether it was right."""
    pairs: dict[str, list[tuple[float, bool]]] = {"tempo": [], "phase": [], "metre": [], "downbeat": []}
    for s in held:
        pairs["tempo"].append(judge_tempo(s, w))
        odds = _softmax(s.phase @ w["decoder.phase.weight"])
        best = int(odds.argmax())
        around = (best + np.arange(-6, 7)) % len(odds)
        pairs["phase"].append((float(odds[around].sum()), bool(s.phase_right[around].any())))
        odds = _softmax(s.metre @ w["decoder.metre.weight"])
        shares = [float(odds[[m == k for m, _ in OPTIONS]].sum()) for k in range(5)]
        metre = int(np.argmax(shares))
        truth = OPTIONS[int(s.metre_right.argmax())]
        pairs["metre"].append((shares[metre], truth[0] == metre))
        best = int(np.where([m == metre for m, _ in OPTIONS], odds, -1).argmax())
        pairs["downbeat"].append((float(odds[best]), bool(s.metre_right[best])))
    return {name: (np.array([p for p, _ in rows]), np.array([r for _, r in rows])) for name, rows in pairs.items()}


def judge_tempo(s: Seen, w: dict[str, np.ndarray]) -> tuple[float, bool]:
    """The probability of the best candidate, and whether it is right."""
    from decode import score_tempi

    scores = score_tempi(s.tempo, w)
    best = int(scores.argmax())
    odds = np.exp(np.append(scores, 0.0) - max(scores.max(), 0.0))
    alike = s.tempo_right if s.tempo_right[best] else np.arange(len(scores)) == best
    return float(odds[:-1][alike].sum() / odds.sum()), bool(s.tempo_right[best])


def _softmax(scores: np.ndarray) -> np.ndarray:
    odds = np.exp(scores - scores.max())
    return odds / odds.sum()


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


__all__ = ["FRAMES_PER_S", "Seen", "fit_decoder", "see", "see_all"]
