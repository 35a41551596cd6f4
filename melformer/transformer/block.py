"""A transformer block, and a stack of them."""

from torch import Tensor, nn

from melformer.transformer.gqa import GroupedQueryAttention
from melformer.transformer.kv_cache import KVCache
from melformer.transformer.mlp import SwiGLU
from melformer.transformer.rms_norm import RMSNorm


class TransformerBlock(nn.Module):
    """Attention, then MLP, each normalised before and added after (LLaMA, Touvron et al. 2023)."""

    def __init__(self, dim: int, attention: GroupedQueryAttention, mlp: SwiGLU, dropout: float) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = RMSNorm(dim), RMSNorm(dim)
        self.attention, self.mlp = attention, mlp
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, cache: KVCache | None = None) -> Tensor:
        hidden = hidden + self.dropout(self.attention(self.attention_norm(hidden), cache))
        return hidden + self.dropout(self.mlp(self.mlp_norm(hidden)))

    def step(self, hidden: Tensor, position: int, cache: KVCache) -> Tensor:
        hidden = hidden + self.attention.step(self.attention_norm(hidden), position, cache)
        return hidden + self.mlp(self.mlp_norm(hidden))


class TransformerStack(nn.Module):
    """Blocks over one axis of positions, and a last normalisation: (B, T, dim) → (B, T, dim)."""

    def __init__(
        self, n_layers: int, dim: int, n_heads: int, n_kv_heads: int, window: int, rope_base: float, multiple: int,
        dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.window, self.n_kv_heads, self.head_dim = window, n_kv_heads, dim // n_heads
        self.blocks = nn.ModuleList(
            TransformerBlock(
                dim, GroupedQueryAttention(dim, n_heads, n_kv_heads, window, rope_base), SwiGLU(dim, multiple), dropout
            )
            for _ in range(n_layers)
        )
        self.norm = RMSNorm(dim)

    def forward(self, hidden: Tensor, caches: list[KVCache] | None = None) -> Tensor:
        """A sequence from its beginning; empty caches are filled, to go on with `step`."""
        for i, block in enumerate(self.blocks):
            hidden = block(hidden, caches[i] if caches else None)
        return self.norm(hidden)

    def step(self, hidden: Tensor, position: int, caches: list[KVCache]) -> Tensor:
        """One position (B, 1, dim), with a cache for each block."""
        for block, cache in zip(self.blocks, caches):
            hidden = block.step(hidden, position, cache)
        return self.norm(hidden)

    def empty_caches(self, batch: int) -> list[KVCache]:
        """Caches for a new sequence."""
        sizes = (batch, self.n_kv_heads, self.window, self.head_dim)
        return [KVCache.empty(*sizes, like=self.norm.gain) for _ in self.blocks]
