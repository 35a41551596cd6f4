"""Root-mean-square normalisation."""

import torch
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """x / sqrt(mean(x²) + eps) · gain over the last axis (Zhang and Sennrich 2019)."""

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.gain = nn.Parameter(torch.ones(dim))

    def forward(self, hidden: Tensor) -> Tensor:
        scale = torch.rsqrt(hidden.float().square().mean(dim=-1, keepdim=True) + self.eps)
        return (hidden.float() * scale).type_as(hidden) * self.gain
