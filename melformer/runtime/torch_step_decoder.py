"""A beat step by step on any device: the same predictions as `StepDecoder`, by the transformer's own layers."""

import numpy as np
import torch
from torch import Tensor

from melformer.runtime.step_decoder import StepDecoder, StepPrediction, span
from melformer.transformer.model import BeatTransformer, TransformerState


class TorchStepDecoder:
    """What `StepDecoder` promises, slower on a CPU, and for weights that are elsewhere."""

    def __init__(self, transformer: BeatTransformer, batch: int) -> None:
        self.transformer, self.batch = transformer, batch
        self.spans = [span(row) for row in transformer.pattern.present.cpu().numpy()]

    @torch.inference_mode()
    def begin(self, state: TransformerState) -> None:
        """Get ready for the beat that `state` predicts."""
        model, n = self.transformer, min(state.position, self.transformer.config.context_beats)
        self.rows = torch.arange(self.batch, device=model.device) % len(state.contexts)
        self.starts = (model.step_embedding[:, None] + model.context(state.contexts))[:, self.rows]  # (S, B, width)
        self.caches = model.steps.empty_caches(self.batch)
        self.ring, self.lags = state.ring, state.lags[None, :n]

    @torch.inference_mode()
    def step(self, step: int, said: np.ndarray | None) -> StepPrediction:
        """Predict a step; `said` int64 (B, n_codebooks) are the codes of the step before."""
        model, n = self.transformer, self.lags.shape[1]
        hidden = self.starts[step]
        if said is not None:
            before = torch.from_numpy(said).to(model.device)
            hidden = hidden + model.codes.embed(before, model.pattern.present[step - 1])
        hidden = self._look_back(hidden, step)
        hidden = model.steps.step(hidden[:, None], step, self.caches)[:, 0]
        pointer_keys = self.ring.pointer_keys[step, self.rows, :n]  # (B, J, pointer_dim)
        weights = model.pointer(hidden[:, None, None], pointer_keys[:, :, None, None], self.lags).exp()
        (first, last), size = self.spans[step], model.codebook_size
        logits = _array(model.codes.logits(hidden)[:, first:last])
        gates, codes = _array(model.gate(hidden)[:, first:last]), self.ring.codes[step, self.rows, :n, first:last]
        return StepPrediction(lambda i: logits[:, i], gates, _array(weights[:, 0, 0, 0]), codes.cpu().numpy(), size)

    def _look_back(self, hidden: Tensor, step: int) -> Tensor:
        """Add what stands at the same step of earlier beats: (B, width)."""
        model, n = self.transformer, self.lags.shape[1]
        keys = self.ring.keys[step, self.rows, :, :n].transpose(1, 2)[:, :, None]  # (B, J, 1, n_heads, head_dim)
        weights = model.column(hidden[:, None, None], keys, self.lags).exp()[:, 0, 0]  # (B, n_heads, J)
        read = weights.type_as(hidden) @ self.ring.values[step, self.rows, :n]
        return hidden + model.column_out(read.flatten(1))


def _array(values: Tensor) -> np.ndarray:
    return values.float().cpu().numpy()


AnyStepDecoder = StepDecoder | TorchStepDecoder


def step_decoder(transformer: BeatTransformer, batch: int) -> AnyStepDecoder:
    """The fast one where the weights are floats on a CPU, torch's own elsewhere."""
    fast = transformer.device.type == "cpu" and transformer.start.dtype == torch.float32
    return StepDecoder(transformer, batch) if fast else TorchStepDecoder(transformer, batch)
