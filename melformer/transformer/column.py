"""Attention to the same place in earlier beats, and copying from there."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class ColumnMemory:
    """What earlier beats offer at each step of the beat pattern.

    keys (B, J, n_steps, n_heads, head_dim), values (B, J, n_steps, dim), codes int64 (B, J, n_steps, n_codebooks),
    lags (K, J) from each predicted beat back to each remembered one (0 or less: not to be seen).
    """

    keys: Tensor
    values: Tensor
    codes: Tensor
    lags: Tensor


class ColumnAttention(nn.Module):
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
