"""The separator: a small U-Net over a beat-synchronous spectrogram, with masks of the middle and of the side."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from melformer.errors import ConfigError
from melformer.stems.features import N_FEATURES
from melformer.stems.stems import STEMS


@dataclass(frozen=True)
class SeparatorConfig:
    """Channels of the network's five levels, the finest first. Errors: ConfigError for numbers out of range."""

    channels: tuple[int, ...] = (16, 32, 64, 96, 128)

    def __post_init__(self) -> None:
        whole = all(isinstance(n, int) and not isinstance(n, bool) for n in self.channels)
        if (
            len(self.channels) != 5
            or not whole
            or not all(4 <= n <= 512 and n % max(1, n // 16) == 0 for n in self.channels)
        ):
            raise ConfigError(f"separator.channels is {self.channels!r}; it must be five numbers from 4 to 512.")


SEPARATORS = {
    "base": SeparatorConfig(),
    "large": SeparatorConfig((32, 64, 128, 192, 256)),
    "tiny": SeparatorConfig((4, 4, 8, 8, 8)),
}
"""Sizes by preset: `base` ships, `tiny` is for tests, `large` wants graphics cards."""


class ConvBlock(nn.Module):
    """Two 3 × 3 convolutions with group normalisation: (B, n_in, T, F) → (B, n_out, T, F)."""

    def __init__(self, n_in: int, n_out: int, dilation: int = 1) -> None:
        super().__init__()
        pad = (dilation, 1)
        self.first = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.second = nn.Conv2d(n_out, n_out, 3, padding=pad, dilation=(dilation, 1))
        self.norms = nn.ModuleList([nn.GroupNorm(max(1, n_out // 16), n_out) for _ in range(2)])

    def forward(self, maps: Tensor) -> Tensor:
        hidden = F.silu(self.norms[0](self.first(maps)))
        return F.silu(self.norms[1](self.second(hidden)))


class Separator(nn.Module):
    """Features of a mix (B, N_FEATURES, T, N_BANDS) → masks (B, 3, 2, T, N_BANDS) of the stems' middle and side, which
    sum to one over the stems; T is a multiple of 16.

    A U-Net (Ronneberger et al. 2015; for music Jansson et al. 2017) that halves time and frequency four times; the
    deepest level sees several beats by dilated convolutions.
    """

    def __init__(self, config: SeparatorConfig) -> None:
        super().__init__()
        self.config, channels = config, config.channels
        pairs = list(zip(channels, channels[1:]))
        self.entry = ConvBlock(N_FEATURES, channels[0])
        self.down = nn.ModuleList([ConvBlock(low, high) for low, high in pairs])
        self.deep = nn.ModuleList([ConvBlock(channels[-1], channels[-1], d) for d in (2, 4, 8)])
        self.narrow = nn.ModuleList([nn.Conv2d(high, low, 1) for low, high in reversed(pairs)])
        self.up = nn.ModuleList([ConvBlock(2 * low, low) for low, _ in reversed(pairs)])
        self.head = nn.Conv2d(channels[0], 2 * len(STEMS), 1)

    def forward(self, features: Tensor) -> Tensor:
        maps = [self.entry(features)]
        for block in self.down:
            maps.append(block(F.avg_pool2d(maps[-1], 2)))
        hidden = maps.pop()
        for block in self.deep:
            hidden = hidden + block(hidden)
        for narrow, block in zip(self.narrow, self.up):
            wide = F.interpolate(narrow(hidden), scale_factor=2.0, mode="nearest")
            hidden = block(torch.cat([maps.pop(), wide], dim=1))
        return torch.softmax(self.head(hidden).unflatten(1, (len(STEMS), 2)), dim=1)
