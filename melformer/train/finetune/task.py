"""Going on with a trained pointer on a musician's own loops, without forgetting the rest."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from melformer.audio.waveform import Waveform
from melformer.data.pointer_batches import make_batch
from melformer.data.unit_dataset import UnitClip
from melformer.files import write_tensors
from melformer.train.options import TrainOptions
from melformer.train.tasks.pointer import pointer_loss
from melformer.transformer.pointer import Pointer

MAX_LOST = 0.01
"""A state that is worse by more than this share on the engine's passages is never kept."""
N_VALIDATION_BATCHES, VALIDATION_BATCH = 6, 8


class FinetuneTask:
    """Batches of own passages and, with a chance of `engine_share`, of the engine's; the best state lies in `best`."""

    def __init__(
        self, pointer: Pointer, own: Sequence[UnitClip], engine: Sequence[UnitClip], held_out: Sequence[UnitClip],
        elsewhere: Sequence[UnitClip], engine_share: float, options: TrainOptions, best: Path,
    ) -> None:  # fmt: skip
        self.module: nn.Module = pointer.requires_grad_(True).train()
        self.own, self.engine, self.held_out, self.elsewhere = list(own), list(engine), list(held_out), list(elsewhere)
        self.engine_share, self.options, self.best = engine_share if engine else 0.0, options, best
        self.history: list[dict[str, float]] = []

    def loss(self, model: nn.Module, rng: np.random.Generator, step: int) -> dict[str, Tensor]:
        clips = self.engine if rng.random() < self.engine_share else self.own
        found = pointer_loss(model, make_batch(clips, rng, self.options.batch_size))
        return {"total": torch.stack(list(found.values())).sum()}

    def after_step(self, step: int) -> list[str]:
        """Nothing is moved by hand."""
        return []

    def validate(self) -> dict[str, float]:
        """Nats a unit on held-out loops and on the engine's passages; the best state so far is written to disk."""
        own, engine = (mean_nats(self.module, clips) for clips in (self.held_out, self.elsewhere))
        self.history.append({"own": round(own, 4), "engine": round(engine, 4)})
        if best_index(self.history) == len(self.history) - 1:
            write_tensors(self.best, self.module.state_dict())
        return self.history[-1]

    def clips(self) -> dict[str, Waveform]:
        return {}

    def export(self, directory: Path, record: dict[str, Any]) -> None:
        """The caller takes `best`."""


def best_index(history: Sequence[dict[str, float]]) -> int:
    """Which validation had the fewest nats on held-out loops, among those that lost little elsewhere.

    The first one is the base itself.
    """
    limit = history[0]["engine"] * (1.0 + MAX_LOST)
    allowed = [i for i, entry in enumerate(history) if entry["engine"] <= limit]
    return min(allowed, key=lambda i: history[i]["own"])


@torch.no_grad()
def mean_nats(pointer: nn.Module, clips: Sequence[UnitClip]) -> float:
    """Nats of a unit's three choices, the mean over batches of windows that are always the same."""
    was_training = pointer.training
    pointer.eval()
    nats = []
    for i in range(N_VALIDATION_BATCHES):
        batch = make_batch(list(clips), np.random.default_rng([7, i]), VALIDATION_BATCH, augment=False)
        batch.given[:] = True
        nats.append(sum(float(v) for v in pointer_loss(pointer, batch).values()))
    pointer.train(was_training)
    return float(np.mean(nats))
