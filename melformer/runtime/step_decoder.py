"""Saying a beat step by step, fast: the in-beat level of `BeatTransformer` without a new tensor for each operation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from melformer.runtime.products import Product, Rows
from melformer.transformer.block import TransformerBlock, TransformerStack
from melformer.transformer.model import BeatTransformer, TransformerState
from melformer.transformer.rope import rotation


@dataclass(frozen=True)
class StepPrediction:
    """What comes next at one step, in memory that the next step uses again.

    Copy `gates` as logits (B, n) of the codebooks that speak at this step; `weights` (B, J) of the remembered beats,
    which sum to less than one; `codes` int64 (B, J, n) to copy from. Logits are computed when they are asked for, since
    what is copied needs none: `book_logits` of one of the n codebooks, float32 (B, codebook_size).
    """

    book_logits: Callable[[int], np.ndarray]
    gates: np.ndarray
    weights: np.ndarray
    codes: np.ndarray
    codebook_size: int

    def logits(self) -> np.ndarray:
        """Of all the codebooks: float32 (B, n, codebook_size)."""
        return np.stack([self.book_logits(i) for i in range(self.gates.shape[1])], axis=1)


class StepDecoder:
    """Predicts the steps of one beat after another for `batch` sequences, as `BeatTransformer.forward` would.

    `begin` a beat with the state in which it is predicted, then ask for its steps in their order. Where the state has
    fewer sequences, B, sequence r of the batch goes on from sequence r mod B of the state. Weights are those the
    transformer has when the speaker is made.
    """

    def __init__(self, transformer: BeatTransformer, batch: int) -> None:
        self.transformer, self.batch = transformer, batch
        config, width = transformer.config, transformer.config.beat_dim
        self.n_heads, self.size = config.n_beat_heads, transformer.codebook_size
        has_bytes = getattr(transformer.gate, "has_bytes", False)
        self.hidden = np.zeros((batch, width), np.float32)
        self.rows, self.read_rows = Rows(batch, width, has_bytes), Rows(batch, self.n_heads * width, has_bytes)
        self.query = Product(transformer.column.query, batch)
        self.column_out = Product(transformer.column_out, batch)
        blocks = (block for block in transformer.steps.blocks if isinstance(block, TransformerBlock))
        self.layers = [_Layer(block, transformer.steps, batch, has_bytes) for block in blocks]
        self.pointer, self.gate = Product(transformer.pointer.query, batch), Product(transformer.gate, batch)
        self.books = [Product(book, batch) for book in transformer.codes.books()]
        self.table = transformer.codes.weight.detach().numpy()
        self.gain = transformer.steps.norm.gain.detach().numpy()
        self.read = np.zeros((batch, self.n_heads, width), np.float32)
        self.spans = [span(row) for row in transformer.pattern.present.numpy()]

    @torch.inference_mode()
    def begin(self, state: TransformerState) -> None:
        """Get ready for the beat that `state` predicts."""
        model, n = self.transformer, min(state.position, self.transformer.config.context_beats)
        context = model.context(state.contexts)
        self.n_sequences = len(context)
        starts = (model.step_embedding[:, None] + context).numpy()  # (S, sequences, width)
        self.starts = np.tile(starts, (1, self.batch // self.n_sequences, 1))
        lags = state.lags[:n]
        levels = (model.column, model.pointer)
        biases = [level.lag_bias[:, lags].masked_fill(lags <= 0, -torch.inf).numpy() for level in levels]
        self.column_bias, self.pointer_bias = biases  # (n_heads, n) and (1, n)
        ring = state.ring
        self.keys, self.values = ring.keys[:, :, :, :n].numpy(), ring.values[:, :, :n].numpy()
        self.pointer_keys, self.codes = ring.pointer_keys[:, :, :n].numpy(), ring.codes[:, :, :n].numpy()

    def step(self, step: int, said: np.ndarray | None) -> StepPrediction:
        """Predict a step; `said` int64 (B, n_codebooks) are the codes of the step before."""
        np.copyto(self.hidden, self.starts[step])
        if said is not None:
            first, last = self.spans[step - 1]
            entries = said[:, first:last] + np.arange(first, last) * self.size
            np.add(self.hidden, np.add.reduce(self.table[entries], axis=1), out=self.hidden)
        self._look_back(step)
        for layer in self.layers:
            layer(self.hidden, step)
        rows, (first, last) = self.rows.take_normed(self.hidden, self.gain), self.spans[step]
        queries = self._by_sequence(self.pointer(rows))
        scores = np.matmul(self.pointer_keys[step], queries[..., None])[..., 0] / np.float32(queries.shape[-1] ** 0.5)
        weights = _weights(scores + self.pointer_bias).reshape(self.batch, -1)
        codes = self.codes[step, :, :, first:last]
        codes = codes if len(codes) == self.batch else np.tile(codes, (self.batch // len(codes), 1, 1))
        gates = self.gate(rows)[:, first:last]
        return StepPrediction(lambda i: self.books[first + i](rows), gates, weights, codes, self.size)

    def _by_sequence(self, values: np.ndarray) -> np.ndarray:
        """Values of the batch (B, ...) beside the sequences of the state that they go on from: (B / n, n, ...)."""
        return values.reshape(-1, self.n_sequences, *values.shape[1:])

    def _look_back(self, step: int) -> None:
        """Add what stands at the same step of earlier beats."""
        queries = self.query(self.rows.take(self.hidden)).reshape(self.batch, self.n_heads, 1, -1)
        queries = self._by_sequence(queries)
        scores = np.matmul(queries, self.keys[step].swapaxes(2, 3))[..., 0, :] / np.float32(queries.shape[-1] ** 0.5)
        np.matmul(_weights(scores + self.column_bias), self.values[step], out=self._by_sequence(self.read))
        read = self.column_out(self.read_rows.take(self.read.reshape(self.batch, -1)))
        np.add(self.hidden, read, out=self.hidden)


class _Layer:
    """One block of the in-beat stack, its keys and values of the current beat with it."""

    def __init__(self, block: TransformerBlock, stack: TransformerStack, batch: int, has_bytes: bool) -> None:
        attention, mlp = block.attention, block.mlp
        n_heads, n_kv, dim, head = attention.n_heads, attention.n_kv_heads, stack.norm.gain.numel(), attention.head_dim
        self.batch, self.n_turned, self.n_kv, self.head = batch, n_heads + n_kv, n_kv, head
        # Neighbours turn as one complex number; the root of the head's width belongs to the queries.
        pairs = torch.arange(head).view(2, -1).t().flatten()
        turned = (torch.arange(self.n_turned)[:, None] * head + pairs).flatten()
        order = torch.cat([turned, torch.arange(self.n_turned * head, attention.project_in.out_features)])
        factors = np.where(np.arange(len(order)) < n_heads * head, head**-0.5, 1.0)
        cosines, sines = rotation(torch.arange(stack.window), head, attention.rope_base)
        self.turns = torch.complex(cosines, sines).numpy()
        self.project_in = Product(attention.project_in, batch, order, factors)
        self.project_out = Product(attention.project_out, batch)
        self.gate_up, self.down = Product(mlp.gate_up, batch), Product(mlp.down, batch)
        self.gains = [norm.gain.detach().numpy() for norm in (block.attention_norm, block.mlp_norm)]
        self.rows, self.wide_rows = Rows(batch, dim, has_bytes), Rows(batch, mlp.down.in_features, has_bytes)
        self.turned = np.zeros((batch, self.n_turned, head // 2), np.complex64)
        self.keys, self.values = np.zeros((2, batch, n_kv, stack.window, head), np.float32)
        self.gated = np.zeros((batch, mlp.down.in_features), np.float32)

    def __call__(self, hidden: np.ndarray, step: int) -> None:
        """Add attention, then MLP, to hidden (B, width) in place."""
        heads = self.project_in(self.rows.take_normed(hidden, self.gains[0])).reshape(self.batch, -1, self.head)
        np.multiply(heads[:, : self.n_turned].view(np.complex64), self.turns[step], out=self.turned)
        turned = self.turned.view(np.float32)
        self.keys[:, :, step] = turned[:, -self.n_kv :]
        self.values[:, :, step] = heads[:, self.n_turned :]
        queries = turned[:, : -self.n_kv].reshape(self.batch, self.n_kv, -1, self.head)
        scores = np.matmul(queries, self.keys[:, :, : step + 1].swapaxes(2, 3))
        np.exp(scores - np.maximum.reduce(scores, axis=-1, keepdims=True), out=scores)
        scores /= np.add.reduce(scores, axis=-1, keepdims=True)
        mixed = np.matmul(scores, self.values[:, :, : step + 1]).reshape(self.batch, -1)
        hidden += self.project_out(self.rows.take(mixed))
        self._mlp(hidden)

    def _mlp(self, hidden: np.ndarray) -> None:
        both, width = self.gate_up(self.rows.take_normed(hidden, self.gains[1])), self.gated.shape[1]
        gate, up = both[:, :width], both[:, width:]
        np.minimum(np.negative(gate, out=self.gated), 80.0, out=self.gated)  # beyond, its exponential is infinite
        np.exp(self.gated, out=self.gated)
        self.gated += 1.0
        np.divide(gate, self.gated, out=self.gated)  # silu
        np.multiply(self.gated, up, out=self.gated)
        hidden += self.down(self.wide_rows.take(self.gated))


def _weights(scores: np.ndarray) -> np.ndarray:
    """Softmax of (..., J) beside one more score of 0, which holds nothing and is left out; the scores are used up."""
    most = np.maximum.reduce(scores, axis=-1, keepdims=True, initial=0.0)
    np.exp(np.subtract(scores, most, out=scores), out=scores)
    scores /= np.add.reduce(scores, axis=-1, keepdims=True) + np.exp(-most)
    return scores


def span(present: np.ndarray) -> tuple[int, int]:
    """First codebook that speaks at a step, and one after the last: they lie side by side, since delays never fall."""
    speaking = np.flatnonzero(present)
    return int(speaking[0]), int(speaking[-1]) + 1
