"""Grouped-query attention with rotary positions."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from melformer.transformer.kv_cache import KVCache
from melformer.transformer.rope import rotate, rotation, rotation_at


class GroupedQueryAttention(nn.Module):
    """Causal self-attention in which groups of query heads share keys and values (Ainslie et al. 2023).

    A position sees itself and the `window − 1` positions before it.
    """

    def __init__(self, dim: int, n_heads: int, n_kv_heads: int, window: int, rope_base: float) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.head_dim = n_heads, n_kv_heads, dim // n_heads
        self.window, self.rope_base = window, rope_base
        self.project_in = nn.Linear(dim, (n_heads + 2 * n_kv_heads) * self.head_dim, bias=False)
        self.project_out = nn.Linear(dim, dim, bias=False)

    def forward(self, hidden: Tensor, cache: KVCache | None = None) -> Tensor:
        """All positions at once: (B, T, dim) → (B, T, dim); an empty cache keeps what later steps will see."""
        positions = torch.arange(hidden.shape[1], device=hidden.device)
        turn = rotation(positions, self.head_dim, self.rope_base)
        queries, keys, values = self._heads(hidden, turn)
        if cache is not None:
            cache.fill(keys, values)
        distance = positions[:, None] - positions
        mask = (distance >= 0) & (distance < self.window)
        return self._attend(queries, keys, values, mask)

    def step(self, hidden: Tensor, position: int, cache: KVCache) -> Tensor:
        """One position, its past in `cache`: (B, 1, dim) → (B, 1, dim)."""
        queries, keys, values = self._heads(hidden, rotation_at(position, self.head_dim, self.rope_base, hidden.device))
        return self._attend(queries, *cache.append(keys, values, position), None)

    def _heads(self, hidden: Tensor, turn: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        heads = self.project_in(hidden).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        queries, keys, values = heads.split([self.n_heads, self.n_kv_heads, self.n_kv_heads], dim=1)
        return rotate(queries, *turn), rotate(keys, *turn), values

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, enable_gqa=True)
        return self.project_out(mixed.transpose(1, 2).flatten(2))
