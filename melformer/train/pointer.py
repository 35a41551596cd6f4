"""Teach the pointer: passages as units, labels from their notes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from melformer.audio.waveform import Waveform
from melformer.data.unit_dataset import UnitClip
from melformer.errors import RequestError
from melformer.hub.parts import POINTER_FILE, save_part
from melformer.stems.units import FLOOR_DB, to_db
from melformer.train.options import TrainOptions
from melformer.transformer.pointer import (
    N_SHIFTS,
    ORDER,
    UNSHIFTED,
    Pointer,
    PointerConfig,
    gather_units,
    relations,
    shift_relations,
)

MAX_PROMPT, MAX_NEW = 64, 32
EXACT, NEAR, NEAR_BAND = 96, 55, 3
"""Percent of likeness at which units are the same music; from which the nearest is a source; within which it is one."""
DROP_CONDITION = 0.15
PROMPT_BARS = (1, 2, 4, 4, 4, 8)
"""Bars of a prompt, each as likely."""
HELD_OUT_EVERY = 15


@dataclass
class Batch:
    """Prompts and what follows them: see `make_batch`."""

    mel_db: Tensor
    chroma: Tensor
    n: Tensor
    bar: Tensor
    tempo: Tensor
    valid: list[Tensor]
    choice: Tensor
    shift: Tensor
    kind: Tensor
    weight: Tensor
    condition: Tensor
    given: Tensor


def draw_windows(clips: list[UnitClip], rng: np.random.Generator, size: int) -> tuple[list[UnitClip], list[int], int]:
    """Clips of one metre, the first unit of each window on a bar line, and the units of every prompt."""
    bar = clips[rng.integers(len(clips))].bar
    n = bar * int(rng.choice(PROMPT_BARS))
    fitting = [clip for clip in clips if clip.bar == bar and clip.n_units >= n + bar and n <= MAX_PROMPT]
    if not fitting:
        return draw_windows(clips, rng, size)
    drawn = [fitting[rng.integers(len(fitting))] for _ in range(size)]
    firsts = [int(rng.integers((clip.n_units - n - bar) // bar + 1)) * bar for clip in drawn]
    return drawn, firsts, n


def make_batch(clips: list[UnitClip], rng: np.random.Generator, size: int, augment: bool = True) -> Batch:
    """Windows of clips as tensors: prompts of P units, and up to `MAX_NEW` units that follow.

    `valid` of each stem is bool (B, MAX_NEW, P * 15 + 2), the choices that are right, `choice`, `shift` and `kind`
    int64 (B, MAX_NEW, 3) the one that is taken as history (kind 0: a source, 1: silence, 2: new, which sounds as its
    nearest source), `weight` (B, MAX_NEW, 3) of the loss, `condition` (B, MAX_NEW, 6) how much of each unit's
    bar leaves the loop, and falls silent, per stem.
    """
    drawn, firsts, n = draw_windows(clips, rng, size)
    mel_db = np.full((size, n, 3, 24, 6), FLOOR_DB, np.float32)
    chroma = np.zeros((size, n, 2, 12, 2), np.float32)
    valid = [np.zeros((size, MAX_NEW, n * N_SHIFTS + 2), bool) for _ in range(3)]
    choice = np.zeros((size, MAX_NEW, 3), np.int64)
    shift = np.full((size, MAX_NEW, 3), UNSHIFTED, np.int64)
    kind = np.zeros((size, MAX_NEW, 3), np.int64)
    weight = np.zeros((size, MAX_NEW, 3), np.float32)
    condition = np.zeros((size, MAX_NEW, 6), np.float32)
    for b, (clip, first) in enumerate(zip(drawn, firsts)):
        count = min(MAX_NEW, clip.n_units - first - n)
        way = int(rng.integers(len(clip.mel)))
        part = slice(first, first + n)
        mel, tones = clip.mel[way, part].astype(np.float32), clip.chroma[way, part].astype(np.float32)
        if augment:
            mel, tones = _disturbed(mel, tones, rng)
        mel_db[b] = _noised(to_db(mel), rng) if augment else to_db(mel)
        chroma[b] = np.roll(tones, int(rng.integers(12)), axis=2) if augment else tones
        for k in range(3):
            alike = clip.alike[k, first + n : first + n + count, part]
            silent, heard = clip.silent[k, first + n : first + n + count], clip.silent[k, part]
            if heard.all():
                kind[b, :, k] = 1
                continue
            labels = _labels(alike, silent, heard, k, n, rng)
            valid[k][b, :count, :-2] = labels.valid.reshape(count, -1)
            valid[k][b, :count, -2] = silent
            valid[k][b, :count, -1] = labels.new
            choice[b, :count, k], shift[b, :count, k], kind[b, :count, k] = labels.choice, labels.shift, labels.kind
            weight[b, :count, k] = labels.weight
            place = np.arange(count) % n
            in_order = (alike[np.arange(count), place, UNSHIFTED] >= EXACT) | (silent & heard[place])
            condition[b, :count, k] = _by_bar(~in_order, clip.bar)
            condition[b, :count, 3 + k] = _by_bar(silent & ~heard[place], clip.bar)
    given = rng.random(size) >= DROP_CONDITION
    as_tensor = torch.from_numpy
    return Batch(
        as_tensor(mel_db), as_tensor(chroma), torch.full((size,), n), torch.tensor([c.bar for c in drawn]),
        torch.tensor([np.log2(c.bpm / 120.0) for c in drawn], dtype=torch.float32), [as_tensor(v) for v in valid],
        as_tensor(choice), as_tensor(shift), as_tensor(kind), as_tensor(weight), as_tensor(condition), as_tensor(given),
    )  # fmt: skip


def _by_bar(flags: np.ndarray, bar: int) -> np.ndarray:
    """The share of each bar's units that are set, for each unit."""
    starts = np.arange(0, len(flags), bar)
    shares = np.add.reduceat(flags.astype(np.float32), starts) / np.diff(np.append(starts, len(flags)))
    return np.repeat(shares, bar)[: len(flags)]


def _disturbed(mel: np.ndarray, tones: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """As a separator gives them: levels differ, and a part of every stem is heard in the others."""
    gains = 10 ** (rng.uniform(-6, 6, 3).astype(np.float32) / 20)
    mel = mel * gains[None, :, None, None]
    tones = tones * np.square(gains[1:])[None, :, None, None]
    leak = rng.uniform(0.0, 0.25) * rng.random((3, 3)).astype(np.float32) * (rng.random() < 0.8)
    np.fill_diagonal(leak, 1.0)
    mel = np.einsum("kl,ulfm->ukfm", leak, mel)
    tones = np.einsum("kl,ulcm->ukcm", np.square(leak[1:, 1:]), tones)
    return mel, tones


def _noised(mel_db: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    tilt = rng.normal(0.0, rng.uniform(0, 3.0), (1, 3, mel_db.shape[2], 1))
    noise = rng.normal(0.0, rng.uniform(0, 1.5), mel_db.shape) if rng.random() < 0.6 else 0.0
    return np.clip(mel_db + tilt + noise, FLOOR_DB, 6.0).astype(np.float32)


@dataclass(frozen=True)
class _Labels:
    valid: np.ndarray
    new: np.ndarray
    choice: np.ndarray
    shift: np.ndarray
    kind: np.ndarray
    weight: np.ndarray


def _labels(
    alike: np.ndarray, silent: np.ndarray, heard: np.ndarray, k: int, n: int, rng: np.random.Generator
) -> _Labels:
    """Right choices of one stem: sources whose notes are the same, else the nearest; and one path through them."""
    count = len(alike)
    alike = alike.astype(np.int16)
    best = alike.max(axis=(1, 2))
    valid = alike >= np.where(best >= EXACT, EXACT, np.maximum(best - NEAR_BAND, NEAR))[:, None, None]
    valid[silent] = False
    valid[np.ix_(silent, heard)] = np.arange(N_SHIFTS) == UNSHIFTED
    new = ~silent & (best < NEAR)
    valid[new] = False
    choice, shift = np.zeros(count, np.int64), np.full(count, UNSHIFTED, np.int64)
    source, moved = n - 1, UNSHIFTED
    for t in range(count):
        onward = (source + 1) % n
        if silent[t]:
            source, moved = onward, UNSHIFTED
        elif valid[t, onward, moved]:
            source = onward
        elif valid[t, t % n, UNSHIFTED]:
            source, moved = t % n, UNSHIFTED
        else:
            table = valid[t] if valid[t].any() else alike[t] >= max(1, best[t])
            rows, columns = np.nonzero(table)
            if len(rows):
                far = np.abs(columns - UNSHIFTED) * 4 + np.abs((t - rows) % n) % 2 * 2 + rng.random(len(rows))
                pick = int(np.argmin(far))
                source, moved = int(rows[pick]), int(columns[pick])
            else:
                source, moved = onward, UNSHIFTED
        choice[t], shift[t] = source, moved
    weight = np.where(best >= EXACT, 1.0, 0.6).astype(np.float32)
    return _Labels(valid, new, choice, shift, np.where(silent, 1, np.where(new, 2, 0)), weight)


class PointerTask:
    """The pointer's loss, validation and way out; see `melformer.train.loop.Task`."""

    def __init__(self, clips: list[UnitClip], options: TrainOptions, config: PointerConfig) -> None:
        if not clips:
            raise RequestError("There is no passage to learn from; give a folder of passages with their notes.")
        torch.manual_seed(options.seed)
        self.module = Pointer(config)
        self.options = options
        self.sources: list[tuple[str, str]] = []
        self.held_out = clips[::HELD_OUT_EVERY]
        self.train_set = [c for i, c in enumerate(clips) if i % HELD_OUT_EVERY] or clips

    def loss(self, model: nn.Module, rng: np.random.Generator, step: int) -> dict[str, Tensor]:
        """Nats per choice of each stem; all choices that are right share the probability."""
        found = pointer_loss(model, make_batch(self.train_set, rng, self.options.batch_size))
        return {"total": torch.stack(list(found.values())).sum(), **found}

    def after_step(self, step: int) -> list[str]:
        return []

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Nats per choice on held-out passages, and with the conditions of another passage ("shuffled")."""
        rows = []
        for i in range(8):
            batch = make_batch(self.held_out, np.random.default_rng([7, i]), 16, augment=False)
            batch.given[:] = True
            row = {name: float(v) for name, v in pointer_loss(self.module, batch).items()}
            batch.condition = batch.condition.roll(1, dims=0)
            row |= {f"{name} shuffled": float(v) for name, v in pointer_loss(self.module, batch).items()}
            rows.append(row)
        return {name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0]}

    def clips(self) -> dict[str, Waveform]:
        return {}

    def export(self, directory: Path, record: dict[str, Any]) -> None:
        """Write `pointer.safetensors`, which may stand beside any model, and `pointer.json`, how it came about."""
        save_part(directory / POINTER_FILE, self.module)
        facts = {**record, "sources": self.sources, "n_passages": len(self.train_set)}
        (directory / "pointer.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def pointer_loss(model: Any, batch: Batch) -> dict[str, Tensor]:
    """Weighted nats per choice of drums, bass and other."""
    memory = model.memory(batch.mel_db, batch.chroma, batch.n, batch.bar)
    size, count = memory.size, batch.choice.shape[1]
    sources, shifts = _history(batch, size)
    new_units = _units_of_choices(model, memory, batch)
    prompt_units = model.to_unit(memory.stems.flatten(2))
    hidden = _run_stack(model, batch, prompt_units, new_units)
    memory = model.with_keys(memory, hidden.prompt)
    queries, time = hidden.before_new, torch.arange(count)
    key = nn.functional.normalize(memory.chroma.sum(dim=(1, 2)), dim=-1)
    known, here_shift = torch.zeros(3, dtype=torch.bool), batch.shift
    found: dict[str, Tensor] = {}
    harmony = torch.zeros(len(batch.n), count, 12)
    for k in ORDER:
        here = torch.where(known, batch.choice, -1)
        related = relations(k, memory, time, sources, here)
        scores, special = model.source_scores(k, queries, memory, related)
        joint = torch.full((*scores.shape, N_SHIFTS), -1e9)
        if k:
            candidates = torch.arange(size).expand(len(batch.n), count, size)
            before = sources[:, -count - 1 : -1]
            moved = shift_relations(
                k, memory, candidates, before, shifts[:, -count - 1 : -1], here, here_shift, harmony, key
            )  # fmt: skip
            joint = scores[..., None] + model.shift_scores(k, queries, moved).log_softmax(dim=-1)
        else:
            joint[..., UNSHIFTED] = scores
        logits = torch.cat([joint.flatten(2), special], dim=-1)
        right = torch.logsumexp(logits.masked_fill(~batch.valid[k], -1e9), dim=-1)
        nats = (torch.logsumexp(logits, dim=-1) - right).clamp(max=30.0)
        weight = batch.weight[..., k]
        found[("drums", "bass", "other")[k]] = (nats * weight).sum() / weight.sum().clamp(min=1.0)
        queries = queries + model.chosen[k](_chosen(model, memory, batch, k))
        known[k] = True
        if k:
            harmony = harmony + _tones(memory, batch, k)
            harmony = nn.functional.normalize(harmony, dim=-1)
    return {name: found[name] for name in ("drums", "bass", "other")}


def _history(batch: Batch, size: int) -> tuple[Tensor, Tensor]:
    """What each stem played from the prompt's last `size` units on: the prompt in its order, then the choices."""
    back = torch.arange(-size, 0)
    prompt = (batch.n[:, None] + back) % batch.n[:, None]
    sources = torch.cat([prompt[..., None].expand(-1, -1, 3), batch.choice], dim=1)
    shifts = torch.cat([torch.full((len(batch.n), size, 3), UNSHIFTED), batch.shift], dim=1)
    return sources, shifts


def _chosen(model: Any, memory: Any, batch: Batch, k: int) -> Tensor:
    """The embedding of what stem `k` plays in each new unit: (B, T, stem_dim)."""
    own = gather_units(memory.stems[:, :, k], batch.choice[..., k])
    return torch.where((batch.kind[..., k] == 1)[..., None], model.silence()[k], own)


def _tones(memory: Any, batch: Batch, k: int) -> Tensor:
    own = gather_units(memory.chroma[:, :, k - 1], batch.choice[..., k])
    pitch = (torch.arange(12) - (batch.shift[..., k, None] - UNSHIFTED)) % 12
    return own.gather(2, pitch) * (batch.kind[..., k] != 1)[..., None]


def _units_of_choices(model: Any, memory: Any, batch: Batch) -> Tensor:
    return model.to_unit(torch.cat([_chosen(model, memory, batch, k) for k in range(3)], dim=-1))


@dataclass(frozen=True)
class _Hidden:
    prompt: Tensor
    before_new: Tensor


def _run_stack(model: Any, batch: Batch, prompt: Tensor, new: Tensor) -> _Hidden:
    """The stack over prompt and new units; what is after the cut knows its condition from the prompt's last unit on."""
    size, count = prompt.shape[1], new.shape[1]
    units = torch.cat([prompt, new], dim=1)
    units = units + model.positions(0, size + count, batch.bar, batch.tempo)
    after = model.after_cut(batch.condition, batch.given)  # of each new unit, where it is predicted from
    hidden = model.stack(torch.cat([units[:, : size - 1], units[:, size - 1 : -1] + after], dim=1))
    return _Hidden(hidden[:, :size], hidden[:, size - 1 : size - 1 + count])
