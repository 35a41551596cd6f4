"""Rotary position embeddings."""

from functools import lru_cache

import torch
from torch import Tensor


def rotation(positions: Tensor, head_dim: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines for positions (T,), each (T, head_dim / 2): pair i turns by position · base^(−2i/head_dim)."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float64, device=positions.device) / head_dim
    angles = positions.to(torch.float64)[:, None] * base**-exponents  # float64: a stream may last for hours
    return angles.cos().float(), angles.sin().float()


@lru_cache(maxsize=1_024)
def rotation_at(position: int, head_dim: int, base: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """`rotation` of one position; remembered, since every layer and many beats ask for the same."""
    with torch.inference_mode(False):
        return rotation(torch.tensor([position], device=device), head_dim, base)


def rotate(heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn the pairs (x[i], x[i + head_dim/2]) of every head: (B, n_heads, T, head_dim) (Su et al. 2021)."""
    first, second = heads.chunk(2, dim=-1)
    return torch.cat([first * cosines - second * sines, first * sines + second * cosines], dim=-1).type_as(heads)
