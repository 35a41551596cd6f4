"""A beat step by step: the predictions of `BeatTransformer.forward`, one after another, from its caches."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from melformer.transformer.model import BeatTransformer, TransformerState


@dataclass(frozen=True)
class StepPrediction:
    """What comes next at one step, of the n codebooks that are predicted there.

    `logits` float32 (B, n, codebook_size); copy `gates` as logits (B, n); `weights` (B, J) of the remembered beats,
    which sum to less than one; `codes` int64 (B, J, n) to copy from.
    """

    logits: np.ndarray
    gates: np.ndarray
    weights: np.ndarray
    codes: np.ndarray


class StepDecoder:
    """Predicts the steps of a beat: `begin` it with the state in which it is predicted, then ask for its steps in their
    order. `spans` are the first codebook of each step, and one after the last."""

    def __init__(self, transformer: BeatTransformer) -> None:
        self.transformer = transformer
        self.spans = [_span(row) for row in transformer.pattern.present.cpu().numpy()]

    @torch.inference_mode()
    def begin(self, state: TransformerState) -> None:
        """Get ready for the beat that `state` predicts."""
        model, n = self.transformer, min(state.position, self.transformer.config.context_beats)
        self.starts = model.step_embedding[:, None] + model.context(state.contexts)  # (S, B, width)
        self.caches = model.steps.empty_caches(len(state.contexts))
        self.ring, self.lags = state.ring, state.lags[None, :n]

    @torch.inference_mode()
    def step(self, step: int, before: np.ndarray | None) -> StepPrediction:
        """Predict a step; `before` int64 (B, n_codebooks) are the codes of the step before."""
        model, n = self.transformer, self.lags.shape[1]
        hidden = self.starts[step]
        if before is not None:
            codes = torch.from_numpy(before).to(model.device)
            hidden = hidden + model.codes.embed(codes, model.pattern.present[step - 1])
        hidden = self._look_back(hidden, step)
        hidden = model.steps.step(hidden[:, None], step, self.caches)[:, 0]
        pointer_keys = self.ring.pointer_keys[step, :, :n]  # (B, J, pointer_dim)
        weights = model.pointer(hidden[:, None, None], pointer_keys[:, :, None, None], self.lags).exp()
        part = slice(*self.spans[step])
        logits, gates = model.codes.logits(hidden)[:, part], model.gate(hidden)[:, part]
        remembered = self.ring.codes[step, :, :n, part].cpu().numpy()
        return StepPrediction(_array(logits), _array(gates), _array(weights[:, 0, 0, 0]), remembered)

    def _look_back(self, hidden: Tensor, step: int) -> Tensor:
        """Add what stands at the same step of earlier beats: (B, width)."""
        model, n = self.transformer, self.lags.shape[1]
        keys = self.ring.keys[step, :, :, :n].transpose(1, 2)[:, :, None]  # (B, J, 1, n_heads, head_dim)
        weights = model.column(hidden[:, None, None], keys, self.lags).exp()[:, 0, 0]  # (B, n_heads, J)
        read = weights.type_as(hidden) @ self.ring.values[step, :, :n]
        return hidden + model.column_out(read.flatten(1))


def _array(values: Tensor) -> np.ndarray:
    return values.float().cpu().numpy()


def _span(present: np.ndarray) -> tuple[int, int]:
    speaking = np.flatnonzero(present)  # side by side, since delays never fall
    return int(speaking[0]), int(speaking[-1]) + 1
