"""The final layer: which entry of each codebook comes next."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from melformer.runtime.packed import PackedLinear


class TiedCodeEmbedding(PackedLinear):
    """One table of code embeddings, read in both directions: to embed codes, and to classify (Press and Wolf 2017)."""

    offsets: Tensor

    def __init__(self, n_codebooks: int, codebook_size: int, dim: int) -> None:
        super().__init__(dim, n_codebooks * codebook_size)
        self.n_codebooks, self.codebook_size = n_codebooks, codebook_size
        self.weight = nn.Parameter(torch.randn(n_codebooks * codebook_size, dim) / math.sqrt(dim))
        self.bias = nn.Parameter(torch.zeros(n_codebooks * codebook_size))
        self.register_buffer("offsets", torch.arange(n_codebooks) * codebook_size, persistent=False)
        self._books: list[PackedLinear] = []

    def embed(self, codes: Tensor, present: Tensor) -> Tensor:
        """Sum of the embeddings of the codes that are `present`: int64 and bool (..., n_codebooks) → (..., dim)."""
        bags = (codes + self.offsets).reshape(-1, self.n_codebooks)
        weights = present.to(self.weight.dtype).expand(codes.shape).reshape(bags.shape)
        summed = F.embedding_bag(bags, self.weight, mode="sum", per_sample_weights=weights)
        return summed.unflatten(0, codes.shape[:-1])

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., dim) → (..., n_codebooks, codebook_size)."""
        return self(hidden).unflatten(-1, (self.n_codebooks, self.codebook_size))

    def books(self) -> list[PackedLinear]:
        """A layer for each codebook, packed as the table is; the table's own memory where it is not."""
        if self.bytes_per_weight == 4:
            return [self._book(i) for i in range(self.n_codebooks)]
        if not self._books:
            self._books = [self._book(i) for i in range(self.n_codebooks)]
            for book in self._books:
                book.pack_bytes(wide=True) if self.has_bytes else book.pack_halves()
        return self._books

    def unpack(self) -> None:
        self._books = []
        super().unpack()

    def _book(self, index: int) -> PackedLinear:
        part = slice(index * self.codebook_size, (index + 1) * self.codebook_size)
        book = PackedLinear(self.in_features, self.codebook_size, device="meta")
        book.weight, book.bias = (nn.Parameter(p.detach()[part], requires_grad=False) for p in (self.weight, self.bias))
        return book
