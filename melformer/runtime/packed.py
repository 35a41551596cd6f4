"""Linear layers whose weights take a quarter or half of the memory, for processors that are faster so.

Composing and decoding spend their time in matrices that do not fit into a core's cache as floats.

Bytes, where a processor multiplies them natively (VNNI): every frame is scaled by its own loudest value and sums are
exact integers, so a frame's result does not depend on what it is computed with: a stream still equals the whole, and a
take alone the same take among many. The usual dynamic quantisation (`torch.ao.quantization.quantize_dynamic`) scales a
whole batch at once and would break both; `torch._weight_int8pack_mm` rounds the weights only, which saves memory but no
multiplications.

Halves, where it has AVX2 but no VNNI: weights in 16-bit floats, as checkpoints store them, multiplied as floats by the
kernels that torch has for a few rows (FBGEMM).
"""

import warnings
from collections.abc import Callable
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOST = np.float32(127.0)
"""How large a rounded value may be."""
FEW_ROWS = 48
"""Up to so many rows are multiplied with halves; with more the usual product of floats is faster."""
ROWS_AT_ONCE, MOST_AT_ONCE = 4, 24
"""Rows come in fours, and at most so many of them at once: of other numbers FBGEMM computes one or two rows apart from
the rest, in another order of operations, and a row's last bits would depend on the rows beside it."""


class HalfWeights:
    """Weights (out, in) and bias (out,) in 16-bit floats, in the order of FBGEMM; they never change."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        with warnings.catch_warnings():  # a later torch drops it; `has_halves` tells, and floats remain
            warnings.simplefilter("ignore", UserWarning)
            self.packed = torch.fbgemm_pack_gemm_matrix_fp16(weight.detach().float().contiguous())
            self.bias = torch.zeros(len(weight)) if bias is None else bias.detach().float().clone()
            self(torch.zeros(1, weight.shape[1]))

    def __call__(self, rows: Tensor) -> Tensor:
        """Float32 (n, in) → (n, out); a row's result is the same among any others."""
        n = len(rows)
        if n % ROWS_AT_ONCE:
            return self(F.pad(rows, (0, 0, 0, -n % ROWS_AT_ONCE)))[:n]
        if n > MOST_AT_ONCE:
            return torch.cat([self(part) for part in rows.split(MOST_AT_ONCE)])
        return torch.fbgemm_linear_fp16_weight_fp32_activation(rows, self.packed, self.bias)

    def __deepcopy__(self, memo: dict) -> "HalfWeights":
        return self  # torch cannot copy what is packed


class PackedLinear(nn.Linear):
    """A linear layer that, once packed, multiplies with bytes or halves on a CPU without gradients, and else in floats.

    Parameters and their names stay those of `nn.Linear`. Float32 (..., in_features) → (..., out_features). Moved to
    another device or type, it multiplies in floats there; back on the CPU in float32 it is packed again.
    """

    packed: Tensor
    scales: Tensor
    wide: Tensor | None
    halves: HalfWeights | None = None
    kernel: Literal["", "bytes", "wide bytes", "halves"] = ""

    @classmethod
    def around(cls, layer: nn.Linear) -> "PackedLinear":
        """A layer with the parameters of another one, not packed yet."""
        packed = cls(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        packed.weight, packed.bias = layer.weight, layer.bias
        return packed.train(layer.training)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "PackedLinear":
        """What `to`, `float` or `cuda` call for every tensor."""
        kernel = self.kernel
        self.unpack()
        super()._apply(fn, recurse)
        if self.weight.device.type == "cpu" and self.weight.dtype == torch.float32:
            if kernel == "halves":
                self.pack_halves()
            elif kernel:
                self.pack_bytes(kernel == "wide bytes")
        self.kernel = kernel
        return self

    def pack_bytes(self, wide: bool = False) -> None:
        """Round the weights, each output's to its own scale; again after a change of the weights.

        `wide`: keep them in oneDNN's own order as well, which a few rows of many outputs read three times as fast.
        """
        self.unpack()
        with torch.no_grad():
            scales = self.weight.abs().amax(dim=1).clamp_min(1e-12) / float(MOST)
            packed = (self.weight / scales[:, None]).round().to(torch.int8)
        self.register_buffer("packed", packed.t().contiguous(), persistent=False)
        self.register_buffer("scales", scales, persistent=False)
        self.register_buffer("wide", _pack_wide(self.packed) if wide else None, persistent=False)
        self.kernel = "wide bytes" if wide else "bytes"

    def pack_halves(self) -> None:
        """Keep the weights in halves too; again after a change of the weights."""
        self.unpack()
        self.halves = HalfWeights(self.weight, self.bias)
        self.kernel = "halves"

    def unpack(self) -> None:
        """Multiply in floats again."""
        for name in ("packed", "scales", "wide"):
            self._buffers.pop(name, None)
        self.halves, self.kernel = None, ""

    @property
    def has_bytes(self) -> bool:
        """Whether it multiplies bytes."""
        return "packed" in self._buffers

    @property
    def bytes_per_weight(self) -> int:
        """1 or 2 once packed, else 4."""
        return 1 if self.has_bytes else 4 if self.halves is None else 2

    def forward(self, frames: Tensor) -> Tensor:
        if self.bytes_per_weight == 4 or frames.device.type != "cpu" or torch.is_grad_enabled():
            return F.linear(frames, self.weight, self.bias)
        rows = frames.reshape(-1, self.in_features)
        if self.halves is None:
            out = self._multiply_bytes(rows)
        else:
            out = self.halves(rows) if len(rows) <= FEW_ROWS else F.linear(rows, self.weight, self.bias)
        return out.view(*frames.shape[:-1], self.out_features)

    def _multiply_bytes(self, rows: Tensor) -> Tensor:
        loudest = rows.abs().amax(dim=1, keepdim=True).clamp_min_(1e-12)
        rounded = (rows * (float(MOST) / loudest)).round_().to(torch.int8)
        sums = torch._int_mm(rounded, self.packed).float().mul_(loudest.div_(float(MOST)))
        return sums.mul_(self.scales) if self.bias is None else torch.addcmul(self.bias, sums, self.scales)


def _pack_wide(weights: Tensor) -> Tensor | None:
    """Weights int8 (in, out) in oneDNN's own order; None where this torch cannot, or does it wrongly."""
    rows = torch.randint(0, 256, (2, len(weights)), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    try:
        wide = torch.ops.onednn.qlinear_prepack(weights.t().contiguous(), None)
        sums = wide_product(rows, wide, torch.ones(weights.shape[1]))
    except (AttributeError, RuntimeError):
        return None
    exact = torch._int_mm((rows.int() - 128).to(torch.int8), weights)
    return wide if torch.equal(sums, exact.float()) else None


def wide_product(rows: Tensor, wide: Tensor, scales: Tensor) -> Tensor:
    """Sums of (row − 128) · weight, exact below 2²⁴, times scales (out,): uint8 (B, in) → float32 (B, out)."""
    zeros = torch.zeros_like(scales, dtype=torch.int64)
    return torch.ops.onednn.qlinear_pointwise(
        rows, 1.0, 128, wide, scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )


@cache
def has_bytes() -> bool:
    """Whether this processor multiplies bytes natively (VNNI), as torch sees it; elsewhere they are no faster."""
    try:
        return torch.cpu._is_vnni_supported()
    except AttributeError:
        return False


@cache
def has_halves() -> bool:
    """Whether this torch has FBGEMM's product with halves for this processor, right, and the same among other rows."""
    generator = torch.Generator().manual_seed(0)
    weight, rows = (torch.randn(n, 256, generator=generator) for n in (64, MOST_AT_ONCE))
    try:
        product = HalfWeights(weight.half(), None)
        found = product(rows)
        alike = all(torch.equal(product(rows[:n]), found[:n]) for n in range(1, MOST_AT_ONCE))
        return alike and torch.allclose(found, rows @ weight.half().float().T, atol=1e-3)
    except (AttributeError, RuntimeError):  # another processor, an older or a later torch
        return False


def use_bytes(module: nn.Module) -> nn.Module:
    """Let every linear layer below a module multiply bytes; gives the module, or the layer that takes its place."""
    module = _packable(module)
    for layer in _packed_layers(module):
        layer.pack_bytes()
    return module


def use_halves(module: nn.Module) -> nn.Module:
    """Let every linear layer below a module multiply a few rows with halves; gives the module, or the layer that takes
    its place."""
    module = _packable(module)
    for layer in _packed_layers(module):
        layer.pack_halves()
    return module


def use_floats(module: nn.Module) -> nn.Module:
    """Undo `use_bytes` and `use_halves`; gives the module back."""
    for layer in _packed_layers(module):
        layer.unpack()
    return module


def _packable(module: nn.Module) -> nn.Module:
    """A module with a `PackedLinear` in the place of every plain linear layer, around the same parameters."""
    if type(module) is nn.Linear:
        return PackedLinear.around(module)
    for name, child in list(module.named_children()):
        setattr(module, name, _packable(child))
    return module


def _packed_layers(module: nn.Module) -> list[PackedLinear]:
    return [layer for layer in module.modules() if isinstance(layer, PackedLinear)]
