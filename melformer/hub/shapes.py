"""Modules without their first weights: what tensors a configuration needs, and what is about to be loaded."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from melformer.config import Config

_MAKERS = {torch.empty, torch.ones, torch.zeros, torch.full, torch.randn}
_DRAWERS = {Tensor.uniform_, Tensor.normal_, nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_}
_SHAPE_KEEPERS = {Tensor.normal_, nn.init.normal_, Tensor.mul, Tensor.__mul__, Tensor.div, Tensor.__truediv__}


class _WithoutWeights(TorchFunctionMode):
    """Makes large tensors on the meta device: names and shapes, no memory.

    `with torch.device("meta")` says the same, but sends drawing, counting and scaling through Python versions of
    themselves, whose first use imports torch's compiler: one to three seconds, before every first sound.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        first = args[0] if args else kwargs.get("tensor")
        if func in _SHAPE_KEEPERS and first.is_meta:
            return first
        if func in _MAKERS and kwargs.get("device") is None and kwargs.get("generator") is None:
            kwargs["device"] = "meta"
            func = torch.empty if func is torch.randn else func
        return func(*args, **kwargs)


class WithoutDrawing(TorchFunctionMode):
    """Modules made here have weights of any value, for them to be loaded: drawing takes longer than loading.

    What `nn.init` does reaches this as one call: inside it nothing is seen any more.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in _DRAWERS:
            return args[0] if args else kwargs["tensor"]
        if func is torch.randn and kwargs.get("generator") is None:
            func = torch.empty
        return func(*args, **kwargs)


def expected_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a model of this configuration holds; allocates no weights."""
    from melformer.codec.codec import Codec
    from melformer.transformer.model import BeatTransformer

    codec = config.codec
    with _WithoutWeights():
        parts = {
            "codec": Codec(codec),
            "transformer": BeatTransformer(config.transformer, codec.latent_frames_per_beat, codec.codebook_size),
        }
    return {
        f"{part}.{name}": tuple(tensor.shape)
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
    }
