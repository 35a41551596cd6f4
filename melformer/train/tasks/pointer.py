"""Teach the pointer: its loss and validation on passages as units."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from melformer.audio.waveform import Waveform
from melformer.data.pointer_batches import Batch, make_batch
from melformer.data.unit_dataset import UnitClip
from melformer.errors import RequestError
from melformer.hub.parts import POINTER_FILE, save_part
from melformer.train.options import TrainOptions
from melformer.transformer.pointer import DRUMS, N_SHIFTS, ORDER, UNSHIFTED, Pointer, PointerConfig
from melformer.transformer.pointer_relations import (
    CONTEXT,
    compare_contexts,
    gather_rows,
    half_relations,
    relations,
    shift_relations,
)

HELD_OUT_EVERY = 15


class PointerTask:
    """The pointer's loss, validation and way out; see `melformer.train.trainer.Task`."""

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
    """Weighted nats per choice of drums, bass and other, and of drums' halves."""
    logits, half_logits = choice_logits(model, batch)
    rows = [(logits[k], batch.valid[k], batch.weight[..., k]) for k in range(3)]
    rows.append((half_logits, batch.halves, batch.half_weight))
    found = {}
    for name, (scores, valid, weight) in zip(("drums", "bass", "other", "halves"), rows):
        nats = choice_nats(scores, valid).clamp(max=30.0) * weight
        found[name] = nats.sum() / weight.sum().clamp(min=1.0)
    return found


def choice_nats(logits: Tensor, valid: Tensor) -> Tensor:
    """−log of the probability of all choices that are right together: (B, T) of (B, T, n) each."""
    right = torch.logsumexp(logits.masked_fill(~valid, -1e9), dim=-1)
    return torch.logsumexp(logits, dim=-1) - right


def choice_logits(model: Any, batch: Batch) -> tuple[list[Tensor], Tensor]:
    """Logits of every choice of drums, bass and other, each (B, T, P * 15 + 2), given the choices before it; and of the
    half units that drums may go on with, (B, T, 2P)."""
    memory = model.memory(batch.mel_db, batch.chroma, batch.n, batch.bar)
    size, count = memory.size, batch.choice.shape[1]
    sources, shifts = _history(batch, size)
    new_units = _units_of_choices(model, memory, batch)
    prompt_units = model.to_unit(memory.stems.flatten(2))
    hidden = _run_stack(model, batch, prompt_units, new_units)
    memory = model.with_keys(memory, hidden.prompt)
    queries, time = hidden.before_new, torch.arange(count)
    key = nn.functional.normalize(memory.chroma.sum(dim=(1, 2)), dim=-1)
    contexts = compare_contexts(memory, sources, count)
    known, here_shift = torch.zeros(3, dtype=torch.bool), batch.shift
    found: dict[int, Tensor] = {}
    harmony = torch.zeros(len(batch.n), count, 12)
    for k in ORDER:
        here = torch.where(known, batch.choice, -1)
        related = relations(k, memory, contexts, time, sources, here)
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
        found[k] = torch.cat([joint.flatten(2), special], dim=-1)
        queries = queries + model.chosen[k](_chosen(model, memory, batch, k))
        known[k] = True
        if k:
            harmony = harmony + _tones(memory, batch, k)
            harmony = nn.functional.normalize(harmony, dim=-1)
    halves = model.half_scores(queries, memory, half_relations(memory, time, batch.choice[..., DRUMS]))
    return [found[k] for k in range(3)], halves


def _history(batch: Batch, size: int) -> tuple[Tensor, Tensor]:
    """What each stem played from the prompt's last `size` units on, more where it is shorter than a context: the prompt
    played round, then the choices."""
    size = max(size, CONTEXT)
    back = torch.arange(-size, 0)
    prompt = (batch.n[:, None] + back) % batch.n[:, None]
    sources = torch.cat([prompt[..., None].expand(-1, -1, 3), batch.choice], dim=1)
    shifts = torch.cat([torch.full((len(batch.n), size, 3), UNSHIFTED), batch.shift], dim=1)
    return sources, shifts


def _chosen(model: Any, memory: Any, batch: Batch, k: int) -> Tensor:
    """The embedding of what stem `k` plays in each new unit: (B, T, stem_dim)."""
    own = gather_rows(memory.stems[:, :, k], batch.choice[..., k])
    return torch.where((batch.kind[..., k] == 1)[..., None], model.silence()[k], own)


def _tones(memory: Any, batch: Batch, k: int) -> Tensor:
    own = gather_rows(memory.chroma[:, :, k - 1], batch.choice[..., k])
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
