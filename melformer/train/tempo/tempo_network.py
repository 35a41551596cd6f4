"""The beat tracker as torch trains it; `audio/tempo/beat_network.py` computes the same with numpy alone."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from melformer.audio.mel import N_BANDS
from melformer.audio.tempo.beat_network import (
    DILATIONS,
    KERNEL,
    N_METRES,
    N_OUTPUTS,
    N_TEMPI,
    STEP_FRAMES,
    UP_CHANNELS,
    Weights,
)


@dataclass(frozen=True)
class TempoNetworkConfig:
    """Channels of frames of 10 ms, of steps of 40 ms, and of what judges the whole clip."""

    front: int = 24
    dim: int = 72
    hidden: int = 96


TEMPO_NETWORKS = {
    "tiny": TempoNetworkConfig(8, 16, 16), "base": TempoNetworkConfig(), "large": TempoNetworkConfig(32, 112, 128),
}  # fmt: skip


class StepBlock(nn.Module):
    """Residual dilated convolution over steps of 40 ms, channels normalised first."""

    def __init__(self, dim: int, dilation: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim))
        self.conv = nn.Conv1d(dim, dim, KERNEL, dilation=dilation, padding=dilation * (KERNEL // 2))
        self.out = nn.Conv1d(dim, dim, 1)
        with torch.no_grad():
            self.out.weight *= 0.3

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        scale = torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-5)
        normed = x * scale * self.gain[:, None] * mask
        return x + self.out(F.relu(self.conv(normed)))


class TempoNetwork(nn.Module):
    """A temporal convolutional network as in Davies and Böck, "Temporal convolutional networks for musical audio beat
    tracking" (2019), with one output more for where the music is, and two for the whole clip."""

    def __init__(self, config: TempoNetworkConfig) -> None:
        super().__init__()
        self.config = config
        front, dim, hidden = config.front, config.dim, config.hidden
        self.front1 = nn.Conv1d(N_BANDS, front, 3, padding=1)
        self.front2 = nn.Conv1d(front, front, 3, padding=1)
        self.stem = nn.Conv1d(front * STEP_FRAMES, dim, 1)
        self.blocks = nn.ModuleList(StepBlock(dim, dilation) for dilation in DILATIONS)
        self.up = nn.Conv1d(dim, UP_CHANNELS * STEP_FRAMES, 1)
        self.frame_out = nn.Conv1d(UP_CHANNELS + front, N_OUTPUTS, 1)
        self.clip_hidden = nn.Linear(2 * dim, hidden)
        self.tempo_out = nn.Linear(hidden, N_TEMPI)
        self.metre_out = nn.Linear(hidden, N_METRES)
        self.dropout = nn.Dropout1d(0.1)
        with torch.no_grad():
            self.frame_out.bias.copy_(torch.tensor([-3.0, -4.5, 2.0]))

    def forward(self, bands: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`bands` (B, 40, n_frames), `mask` (B, 1, n_frames), n_frames a multiple of 4: logits of frames (B, 3,
        n_frames), of tempi (B, 90) and of metres (B, 5)."""
        front = F.relu(self.front1(bands * mask)) * mask
        front = F.relu(self.front2(front)) * mask
        step_mask = mask[:, :, ::STEP_FRAMES]
        b, c, n = front.shape
        # (B, c, n) → (B, 4·c, n / 4): the four frames of a step side by side, frame by frame
        stacked = (
            front.reshape(b, c, n // STEP_FRAMES, STEP_FRAMES).permute(0, 3, 1, 2).reshape(b, -1, n // STEP_FRAMES)
        )
        x = self.stem(stacked)
        for block in self.blocks:
            x = block(self.dropout(x), step_mask)
        up = F.relu(self.up(x)).reshape(b, STEP_FRAMES, UP_CHANNELS, -1).permute(0, 2, 3, 1).reshape(b, UP_CHANNELS, n)
        frames = self.frame_out(torch.cat([up, front], dim=1))
        mean = (x * step_mask).sum(-1) / step_mask.sum(-1)
        top = (x + (step_mask - 1) * 1e4).amax(-1)
        hidden = F.relu(self.clip_hidden(torch.cat([mean, top], dim=1)))
        return frames, self.tempo_out(hidden), self.metre_out(hidden)

    def arrays(self) -> Weights:
        """Weights under the names that the tracker reads."""
        return {name: value.detach().cpu().numpy().astype(np.float32) for name, value in self.state_dict().items()}
