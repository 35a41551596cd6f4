"""Low-rank changes to linear layers: few numbers to learn, and merged away in the end."""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from melformer.errors import RequestError
from melformer.transformer.classifier import TiedCodeEmbedding

MAX_RANK = 256


class LowRank(nn.Module):
    """W → W + up · down: up (out, rank) starts at zero, so that nothing changes at first (Hu et al. 2021, LoRA)."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, weight.shape[1]) / math.sqrt(weight.shape[1]))
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down


def add_lora(module: nn.Module, rank: int) -> list[nn.Parameter]:
    """Freeze a module, but for a low-rank change of every linear layer and for its vectors (biases, gains).

    The table of codes stays: it is an embedding too, whose rows change one by one. Layers with a side shorter than
    twice the rank stay frozen: a low rank saves nothing there. Gives what is learned.
    Errors: RequestError for a rank outside 1..256, or one too high for every layer.
    """
    if not 1 <= rank <= MAX_RANK:
        raise RequestError(f"The LoRA rank is {rank}; it must be from 1 to {MAX_RANK}.")
    for parameter in module.parameters():
        parameter.requires_grad = parameter.ndim == 1
    linear = [m for m in module.modules() if isinstance(m, nn.Linear) and not isinstance(m, TiedCodeEmbedding)]
    layers = [m for m in linear if min(m.weight.shape) >= 2 * rank]
    if not layers:
        raise RequestError(f"The LoRA rank is {rank}, too high for every layer of this model; give a lower one.")
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank))
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


@torch.no_grad()
def merged(module: nn.Module) -> dict[str, Tensor]:
    """The state dict that an ordinary module of this kind has: low-rank changes added to the weights."""
    state = {}
    for name, tensor in module.state_dict().items():
        if ".parametrizations.weight." not in name:
            state[name] = tensor.clone()
        elif name.endswith(".original"):
            layer = module.get_submodule(name.split(".parametrizations.")[0])
            assert isinstance(layer.weight, Tensor)
            state[name.split(".parametrizations.")[0] + ".weight"] = layer.weight.clone()
    return state
