"""Attention to the same place in earlier beats, and copying from there."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class AlignedMemory:
    """What earlier beats offer at each step of the beat pattern.

    keys (B, J, n_steps, n_heads, head_dim), values (B, J, n_steps, dim), codes int64 (B, J, n_steps, n_codebooks),
    pointer_keys (B, J, n_steps, 1, pointer_dim).
    """

    keys: Tensor
    values: Tensor
    codes: Tensor
    pointer_keys: Tensor


@dataclass
class AlignedKVCache:
    """`AlignedMemory` of the last `capacity` beats of a stream, in a ring (slot = position mod capacity), step by step:
    what one step reads lies together. keys (S, B, n_heads, J, head_dim), values (S, B, J, dim), codes (S, B, J,
    n_codebooks), pointer_keys (S, B, J, pointer_dim)."""

    keys: Tensor
    values: Tensor
    codes: Tensor
    pointer_keys: Tensor

    @classmethod
    def like(cls, memory: AlignedMemory, capacity: int) -> "AlignedKVCache":
        """An empty ring for memories such as this one."""
        batch, _, n_steps, n_heads, head_dim = memory.keys.shape
        return cls(
            memory.keys.new_zeros(n_steps, batch, n_heads, capacity, head_dim),
            memory.values.new_zeros(n_steps, batch, capacity, memory.values.shape[-1]),
            memory.codes.new_zeros(n_steps, batch, capacity, memory.codes.shape[-1]),
            memory.pointer_keys.new_zeros(n_steps, batch, capacity, memory.pointer_keys.shape[-1]),
        )

    @property
    def capacity(self) -> int:
        return self.values.shape[2]

    def write(self, memory: AlignedMemory, position: int) -> None:
        """Remember beats `position` …; of more than fit, the last."""
        n, end = min(memory.values.shape[1], self.capacity), position + memory.values.shape[1]
        slots = torch.arange(end - n, end, device=self.values.device) % self.capacity
        self.keys[:, :, :, slots] = memory.keys[:, -n:].permute(2, 0, 3, 1, 4)
        self.values[:, :, slots] = memory.values[:, -n:].permute(2, 0, 1, 3)
        self.codes[:, :, slots] = memory.codes[:, -n:].permute(2, 0, 1, 3)
        self.pointer_keys[:, :, slots] = memory.pointer_keys[:, -n:, :, 0].permute(2, 0, 1, 3)


class AlignedAttention(nn.Module):
    """Scores of earlier beats at the same step: content, and a learned preference for each lag.

    A loop repeats on its grid, so what a beat needs stands at the same place in an earlier beat, in any metre;
    a small model need not learn to search for it. One more "beat" that holds nothing takes the rest of the weight.
    """

    def __init__(self, query_dim: int, context_dim: int, value_dim: int, n_heads: int, head_dim: int, max_lag: int):
        super().__init__()
        self.n_heads, self.head_dim = n_heads, head_dim
        self.query = nn.Linear(query_dim, n_heads * head_dim, bias=False)
        self.key_context = nn.Linear(context_dim, n_heads * head_dim, bias=False)
        self.key_before = nn.Linear(value_dim, n_heads * head_dim, bias=False)
        self.key_here = nn.Linear(value_dim, n_heads * head_dim, bias=False)
        self.lag_bias = nn.Parameter(torch.zeros(n_heads, max_lag + 1))

    def keys(self, contexts: Tensor, before: Tensor, here: Tensor) -> Tensor:
        """Contexts (B, J, context_dim) and embeddings (B, J, S, value_dim) → (B, J, S, n_heads, head_dim)."""
        keys = self.key_context(contexts)[:, :, None] + self.key_before(before) + self.key_here(here)
        return keys.unflatten(-1, (self.n_heads, self.head_dim))

    def forward(self, hidden: Tensor, keys: Tensor, lags: Tensor) -> Tensor:
        """Log-weights of J beats: hidden (B, K, S, query_dim), keys (B, J, S, n_heads, head_dim), lags (K, J)
        → (B, K, S, n_heads, J). Their exponentials sum to less than one: the rest belongs to nothing."""
        queries = self.query(hidden).unflatten(-1, (self.n_heads, self.head_dim))
        scores = torch.einsum("bkshd,bjshd->bkshj", queries, keys).float() / math.sqrt(self.head_dim)
        bias = self.lag_bias[:, lags.clamp(0, self.lag_bias.shape[1] - 1)]  # (n_heads, K, J)
        scores = scores + bias.permute(1, 0, 2)[:, None]
        scores = scores.masked_fill((lags <= 0)[:, None, None], -math.inf)
        nothing = scores.new_zeros(*scores.shape[:-1], 1)
        return torch.cat([scores, nothing], dim=-1).log_softmax(dim=-1)[..., :-1]
