"""Eight-bit matrix products for processors that multiply bytes natively.

Composing and decoding spend their time in matrices that do not fit into a core's cache as floats; as bytes they do.
Every frame is scaled by its own loudest value and sums are exact integers, so a frame's result does not depend on
what it is computed with: a stream still equals the whole, and a take alone the same take among many. The usual dynamic
quantisation (`torch.ao.quantization.quantize_dynamic`) scales a whole batch at once and would break both;
`torch._weight_int8pack_mm` rounds the weights only, which saves memory but no multiplications.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_MOST = 127.0
_WIDE = 4_096
"""Outputs from which weights are also kept in oneDNN's own order: a few rows then read them three times as fast."""


class Int8Linear(nn.Linear):
    """A linear layer that, once packed, multiplies in eight bits on a CPU without gradients, and else in floats.

    Parameters and their names stay those of `nn.Linear`. Float32 (..., in_features) → (..., out_features).
    """

    packed: Tensor
    scales: Tensor
    wide: Tensor | None

    def pack(self) -> None:
        """Round the weights, each output's to its own scale; again after a change of the weights."""
        with torch.no_grad():
            scales = self.weight.abs().amax(dim=1).clamp_min(1e-12) / _MOST
            packed = (self.weight / scales[:, None]).round().to(torch.int8)
        self.register_buffer("packed", packed.t().contiguous(), persistent=False)
        self.register_buffer("scales", scales, persistent=False)
        wide = _pack_wide(self.packed) if self.out_features >= _WIDE else None
        self.register_buffer("wide", wide, persistent=False)

    def unpack(self) -> None:
        """Multiply in floats again."""
        for name in ("packed", "scales", "wide"):
            self._buffers.pop(name, None)

    @property
    def is_packed(self) -> bool:
        """Whether it multiplies in eight bits."""
        return "packed" in self._buffers

    def forward(self, frames: Tensor) -> Tensor:
        if not self.is_packed or torch.is_grad_enabled() or frames.device.type != "cpu":
            return F.linear(frames, self.weight, self.bias)
        rows = frames.reshape(-1, self.in_features)
        loudest = rows.abs().amax(dim=1, keepdim=True).clamp_min_(1e-12)
        rounded = (rows * (_MOST / loudest)).round_().to(torch.int8)
        sums = torch._int_mm(rounded, self.packed).float().mul_(loudest.div_(_MOST))
        out = sums.mul_(self.scales) if self.bias is None else torch.addcmul(self.bias, sums, self.scales)
        return out.view(*frames.shape[:-1], self.out_features)


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


def has_int8() -> bool:
    """Whether this processor multiplies bytes natively (VNNI) and this torch can; elsewhere floats are as fast."""
    try:
        ones = torch.ones(2, 32, dtype=torch.int8)
        return torch.cpu._is_vnni_supported() and int(torch._int_mm(ones, ones.T)[0, 0]) == 32
    except (AttributeError, RuntimeError):  # an older torch
        return False


def use_int8(module: nn.Module) -> nn.Module:
    """Let every linear layer of a module multiply in eight bits, in place; gives the module back."""
    for layer in module.modules():
        if type(layer) is nn.Linear:
            layer.__class__ = Int8Linear
        if isinstance(layer, Int8Linear):
            layer.pack()
    return module


def use_floats(module: nn.Module) -> nn.Module:
    """Undo `use_int8`, in place; gives the module back."""
    for layer in module.modules():
        if isinstance(layer, Int8Linear):
            layer.unpack()
        if type(layer) is Int8Linear:
            layer.__class__ = nn.Linear  # type: ignore[assignment]
    return module
