"""The language model over beats: one step per beat, and a small model inside the beat."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from melformer.config import TransformerConfig
from melformer.transformer.aligned_attention import AlignedAttention, AlignedKVCache, AlignedMemory
from melformer.transformer.block import TransformerStack
from melformer.transformer.classifier import TiedCodeEmbedding
from melformer.transformer.delay_pattern import DelayPattern
from melformer.transformer.kv_cache import KVCache

UNKNOWN_BAR_POSITION = 32
"""Row of the bar-position table for "not told"; positions 0..31 are model beats counted from the bar line."""


@dataclass(frozen=True)
class Conditioning:
    """What is known besides codes: log2(BPM / 120), shape (B,), NaN where not told; bar positions int64 (B, T)."""

    tempo: Tensor
    bar_positions: Tensor


@dataclass(frozen=True)
class Prediction:
    """What comes next at some steps: logits (..., n_codebooks, codebook_size), copy gates as logits
    (..., n_codebooks), and log-weights of earlier beats (..., J) to copy from."""

    logits: Tensor
    gates: Tensor
    pointer: Tensor


@dataclass
class TransformerState:
    """A sequence in progress: caches of the beat level, a ring of remembered beats, and the beat being predicted.

    `contexts` (B, dim) is the beat level's output for beat `position`; `lags` int64 (context_beats,) lead from it
    back to the beat in each slot of the ring, 0 where there is none.
    """

    position: int
    caches: list[KVCache]
    ring: AlignedKVCache
    contexts: Tensor
    lags: Tensor


class BeatTransformer(nn.Module):
    """Beats in, codes of the next beat out; it knows nothing of audio.

    The beat level sees one embedding per beat and says what the next beat is about. Inside the beat a small
    stack of the same blocks says its codes step by step (`DelayPattern`), looking at the same place in earlier
    beats, and may copy from there: p = g · copied + (1 − g) · softmax(logits), a pointer-generator (See et al. 2017).
    """

    def __init__(self, config: TransformerConfig, n_frames: int, codebook_size: int) -> None:
        super().__init__()
        n_codebooks = len(config.delays)
        self.config, self.n_codebooks, self.codebook_size = config, n_codebooks, codebook_size
        self.pattern = DelayPattern(config.delays, n_frames)
        self.beat_table = nn.Embedding(n_codebooks * codebook_size, config.embedding_dim)
        self.beat_in = nn.Linear(n_frames * n_codebooks * config.embedding_dim, config.dim)
        self.start = nn.Parameter(torch.zeros(config.dim))
        self.bar_position = nn.Embedding(UNKNOWN_BAR_POSITION + 1, config.dim)
        self.tempo = nn.Linear(2, config.dim)
        self.beats = TransformerStack(
            config.n_layers, config.dim, config.n_heads, config.n_kv_heads, config.context_beats, config.rope_base,
            config.hidden_multiple, config.dropout,
        )  # fmt: skip
        width, n_steps = config.beat_dim, self.pattern.n_steps
        self.codes = TiedCodeEmbedding(n_codebooks, codebook_size, width)
        self.context = nn.Linear(config.dim, width)
        self.step_embedding = nn.Parameter(torch.randn(n_steps, width) * 0.02)
        sizes = (config.n_beat_heads, config.pointer_dim // config.n_beat_heads, config.context_beats)
        self.column = AlignedAttention(width, config.dim, width, *sizes)
        self.column_out = nn.Linear(config.n_beat_heads * width, width, bias=False)
        self.steps = TransformerStack(
            config.n_beat_layers, width, config.n_beat_heads, config.n_beat_kv_heads, n_steps, config.rope_base,
            config.hidden_multiple, config.dropout,
        )  # fmt: skip
        self.pointer = AlignedAttention(width, config.dim, width, 1, config.pointer_dim, config.context_beats)
        self.gate = nn.Linear(width, n_codebooks)

    @property
    def device(self) -> torch.device:
        """Where its weights are: codes and conditioning must be there too."""
        return self.start.device

    def forward(
        self, codes: Tensor, conditioning: Conditioning, chosen: Tensor, lag_mask: Tensor | None = None
    ) -> Prediction:
        """Predict the beats `chosen` (K,) of codes (B, N, n_frames, n_codebooks): all their steps at once.

        → Prediction over (B, K, n_steps, …), J = N. `lag_mask` (K, N), True where an earlier beat may be seen.
        """
        embedded = torch.cat([self.start.expand(len(codes), 1, -1), self._embed_beats(codes[:, :-1])], dim=1)
        contexts = self.beats(embedded + self._embed_conditioning(conditioning))
        lags = chosen[:, None] - torch.arange(codes.shape[1], device=chosen.device)
        lags = lags * (lags < self.config.context_beats)
        if lag_mask is not None:
            lags = lags * lag_mask
        memory = self._remember(codes, contexts)
        before = self._before(memory.values)[:, chosen]
        hidden = self.context(contexts[:, chosen])[:, :, None] + before + self.step_embedding
        hidden = self._read(hidden, memory, lags)
        hidden = self.steps(hidden.flatten(0, 1)).unflatten(0, hidden.shape[:2])
        pointer = self.pointer(hidden, memory.pointer_keys, lags)[:, :, :, 0]
        return Prediction(self.codes.logits(hidden), self.gate(hidden), pointer)

    def log_likelihood(self, prediction: Prediction, heard: Tensor, said: Tensor, chosen: Tensor) -> Tensor:
        """Natural log-probability of every code of the chosen beats of `said`, where copies come from `heard`, both
        (B, N, n_frames, n_codebooks): → (B, K, n_steps, n_codebooks), 0 where nothing is said."""
        steps = self.pattern.to_steps(heard)
        targets = self.pattern.to_steps(said[:, chosen])
        generated = prediction.logits.float().log_softmax(dim=-1).gather(-1, targets[..., None])[..., 0]
        same = steps.transpose(1, 2)[:, None] == targets[:, :, :, None]  # (B, K, S, J, n_codebooks)
        weights = prediction.pointer.exp()
        copied = (weights[..., None] * same).sum(dim=-2)
        gate = torch.sigmoid(prediction.gates.float())
        share = gate * weights.sum(dim=-1, keepdim=True)
        probability = gate * copied + (1.0 - share) * generated.exp()
        return (probability + 1e-9).log() * self.pattern.present

    def prefill(self, codes: Tensor, conditioning: Conditioning) -> TransformerState:
        """Hear the first beats of a sequence all at once: codes (B, N, n_frames, n_codebooks), N from 1; conditioning's
        bar_positions (B, N + 1) are those of the heard beats and of the one to be predicted."""
        embedded = torch.cat([self.start.expand(len(codes), 1, -1), self._embed_beats(codes)], dim=1)
        caches = self.beats.empty_caches(len(codes))
        contexts = self.beats(embedded + self._embed_conditioning(conditioning), caches)
        memory = self._remember(codes, contexts[:, :-1])
        ring = AlignedKVCache.like(memory, self.config.context_beats)
        ring.write(memory, 0)
        position = codes.shape[1]
        return TransformerState(position, caches, ring, contexts[:, -1], self.ring_lags(position))

    def append(self, state: TransformerState, codes: Tensor, conditioning: Conditioning) -> None:
        """Take beat `position` as said, codes (B, n_frames, n_codebooks), and get ready for the next one, in place;
        conditioning's bar_positions is (B, 1)."""
        state.ring.write(self._remember(codes[:, None], state.contexts[:, None]), state.position)
        state.position += 1
        hidden = self._embed_beats(codes[:, None]) + self._embed_conditioning(conditioning)
        state.contexts = self.beats.step(hidden, state.position, state.caches)[:, 0]
        state.lags = self.ring_lags(state.position)

    def ring_lags(self, position: int) -> Tensor:
        """Lag from beat `position` to the beat in each slot of the ring, 0 for an empty slot: (context_beats,)."""
        size = self.config.context_beats
        lags = (position - torch.arange(size, device=self.device) - 1) % size + 1
        return torch.where((lags <= position) & (lags < size), lags, 0)

    def _embed_beats(self, codes: Tensor) -> Tensor:
        offsets = self.codes.offsets
        return self.beat_in(F.embedding(codes + offsets, self.beat_table.weight).flatten(2))

    def _embed_conditioning(self, conditioning: Conditioning) -> Tensor:
        known = ~conditioning.tempo.isnan()
        features = torch.stack([conditioning.tempo.nan_to_num(0.0), known.to(conditioning.tempo.dtype)], dim=-1)
        return self.bar_position(conditioning.bar_positions) + self.tempo(features)[:, None]

    def _remember(self, codes: Tensor, contexts: Tensor) -> AlignedMemory:
        """What beats (B, J, n_frames, n_codebooks) offer to later ones."""
        steps = self.pattern.to_steps(codes)
        here = self.codes.embed(steps, self.pattern.present)
        before = self._before(here)
        keys = self.column.keys(contexts, before, here)
        return AlignedMemory(keys, here, steps, self.pointer.keys(contexts, before, here))

    @staticmethod
    def _before(here: Tensor) -> Tensor:
        """Embeddings of the step before: (B, J, S, dim) moved by one step."""
        return F.pad(here, (0, 0, 1, 0))[:, :, :-1]

    def _read(self, hidden: Tensor, memory: AlignedMemory, lags: Tensor) -> Tensor:
        weights = self.column(hidden, memory.keys, lags).exp().type_as(memory.values)
        read = torch.einsum("bkshj,bjsd->bkshd", weights, memory.values)
        return hidden + self.column_out(read.flatten(-2))
