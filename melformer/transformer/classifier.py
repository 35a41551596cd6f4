"""The final layer: which entry of each codebook comes next."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TiedCodeEmbedding(nn.Linear):
    """One table of code embeddings, read in both directions: to embed codes, and to classify (Press and Wolf 2017)."""

    offsets: Tensor

    def __init__(self, n_codebooks: int, codebook_size: int, dim: int) -> None:
        super().__init__(dim, n_codebooks * codebook_size)
        self.n_codebooks, self.codebook_size = n_codebooks, codebook_size
        self.weight = nn.Parameter(torch.randn(n_codebooks * codebook_size, dim) / math.sqrt(dim))
        self.bias = nn.Parameter(torch.zeros(n_codebooks * codebook_size))
        self.register_buffer("offsets", torch.arange(n_codebooks) * codebook_size, persistent=False)

    def embed(self, codes: Tensor, present: Tensor) -> Tensor:
        """Sum of the embeddings of the codes that are `present`: int64 and bool (..., n_codebooks) → (..., dim)."""
        bags = (codes + self.offsets).reshape(-1, self.n_codebooks)
        weights = present.to(self.weight.dtype).expand(codes.shape).reshape(bags.shape)
        summed = F.embedding_bag(bags, self.weight, mode="sum", per_sample_weights=weights)
        return summed.unflatten(0, codes.shape[:-1])

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., dim) → (..., n_codebooks, codebook_size)."""
        return self(hidden).unflatten(-1, (self.n_codebooks, self.codebook_size))
