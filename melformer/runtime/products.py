"""Matrix products for a few rows at a time, into memory that is kept.

Inside a beat a step takes some fifty small operations; with a new tensor for each, making the tensors costs more than
the arithmetic. Here every buffer exists once, as a torch tensor (for the product) and as the numpy array of the same
memory (for the rest, since numpy's operations start three times as fast).
"""

import numpy as np
import torch
from torch import Tensor, nn

from melformer.runtime.packed import MOST, HalfWeights, PackedLinear, wide_product


class Rows:
    """Rows about to be multiplied, (B, width): as floats, or each as bytes and a scale of its own (see `packed`)."""

    def __init__(self, batch: int, width: int, as_bytes: bool, eps: float = 1e-6) -> None:
        self.as_bytes, self.eps, self.width = as_bytes, eps, width
        self.float_rows = torch.zeros(batch, width)
        self.byte_rows = torch.zeros(batch, width, dtype=torch.int8)
        self.floats, self.bytes = self.float_rows.numpy(), self.byte_rows.numpy()
        self.unsigned_rows = torch.zeros(batch, width, dtype=torch.uint8)
        self.scales = np.zeros((batch, 1), np.float32)
        self._normed = np.zeros((batch, width), np.float32)
        self._factors = np.zeros((batch, 1), np.float32)

    def take(self, values: np.ndarray) -> "Rows":
        """Hold float32 (B, width)."""
        if not self.as_bytes:
            np.copyto(self.floats, values)
            return self
        np.abs(values, out=self.floats)
        np.maximum.reduce(self.floats, axis=1, keepdims=True, out=self.scales, initial=1e-12)
        np.divide(MOST, self.scales, out=self._factors)
        np.multiply(values, self._factors, out=self.floats)
        np.rint(self.floats, out=self.bytes, casting="unsafe")
        np.divide(self.scales, MOST, out=self.scales)
        return self

    def take_normed(self, values: np.ndarray, gain: np.ndarray) -> "Rows":
        """Hold float32 (B, width) after root-mean-square normalisation."""
        squares = np.einsum("bd,bd->b", values, values)[:, None]
        np.multiply(values, 1.0 / np.sqrt(squares / np.float32(self.width) + np.float32(self.eps)), out=self._normed)
        np.multiply(self._normed, gain, out=self._normed)
        return self.take(self._normed)


class Product:
    """A linear layer over `Rows`: gives float32 (B, out), the same memory each time (but for halves).

    `order` (out,) rearranges the outputs and `factors` (out,) scales them.
    """

    def __init__(
        self, layer: nn.Linear, batch: int, order: Tensor | None = None, factors: np.ndarray | None = None
    ) -> None:
        n_out = layer.out_features
        every, scale = slice(None) if order is None else order, np.ones(n_out, np.float32)
        scale = scale if factors is None else factors.astype(np.float32)
        self.bias = None if layer.bias is None else layer.bias.detach()[every].numpy() * scale
        self.halves, self.has_bytes = None, isinstance(layer, PackedLinear) and layer.has_bytes
        if isinstance(layer, PackedLinear) and layer.has_bytes:
            self.weights, self.wide = layer.packed[:, every].contiguous(), layer.wide
            self.scales = layer.scales[every].numpy() * scale
            self.sum_rows = torch.zeros(batch, n_out, dtype=torch.int32)
            self.sums = self.sum_rows.numpy()
            self.out = np.zeros((batch, n_out), np.float32)
            return
        weights = layer.weight.detach()
        if order is not None or factors is not None:
            weights = weights[every] * torch.from_numpy(scale)[:, None]
        if isinstance(layer, PackedLinear) and layer.halves is not None:
            same = order is None and factors is None
            bias = None if self.bias is None else torch.from_numpy(self.bias)
            self.halves = layer.halves if same else HalfWeights(weights, bias)
            return
        self.weights = weights.t()
        self.out_rows = torch.zeros(batch, n_out)
        self.out = self.out_rows.numpy()

    def __call__(self, rows: Rows) -> np.ndarray:
        if self.halves is not None:
            return self.halves(rows.float_rows).numpy()
        if not self.has_bytes:
            torch.mm(rows.float_rows, self.weights, out=self.out_rows)
        elif self.wide is None:
            torch._int_mm(rows.byte_rows, self.weights, out=self.sum_rows)
            np.multiply(self.sums, rows.scales, out=self.out, casting="unsafe", dtype=np.float32)
            np.multiply(self.out, self.scales, out=self.out)
        else:
            self._multiply_wide(rows, self.wide)
        if self.bias is not None:
            np.add(self.out, self.bias, out=self.out)
        return self.out

    def _multiply_wide(self, rows: Rows, wide: Tensor) -> None:
        np.bitwise_xor(rows.bytes.view(np.uint8), 128, out=rows.unsigned_rows.numpy())
        scaled = wide_product(rows.unsigned_rows, wide, torch.from_numpy(self.scales))
        np.multiply(scaled.numpy(), rows.scales, out=self.out)
