"""How surprised the transformer is by beats that are already there."""

import math

import torch
from torch import Tensor

from melformer.transformer.model import BeatTransformer, Conditioning


@torch.inference_mode()
def bits_per_beat(
    transformer: BeatTransformer, codes: Tensor, tempo: float, bar_positions: Tensor, chosen: Tensor
) -> Tensor:
    """−log2 of the probability of whole model beats, each given all those before it.

    codes int64 (B, N, n_frames, n_codebooks), `tempo` log2(BPM / 120), bar_positions int64 (N,), `chosen` the beats
    to be judged, int64 (C,) → bits (B, C).
    """
    device = transformer.device
    codes, bar_positions, chosen = codes.to(device), bar_positions.to(device), chosen.to(device)
    tempi = torch.full((len(codes),), tempo, device=device)
    prediction = transformer(codes, Conditioning(tempi, bar_positions.expand(len(codes), -1)), chosen)
    nats = -transformer.log_likelihood(prediction, codes, codes, chosen).sum(dim=(-1, -2))
    return nats.cpu() / math.log(2.0)
