"""Convolutional blocks: beat-local ones for the encoder, causal ones with carried state for the decoder."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then an MLP on each frame, added to the input (Liu et al. 2022; Vocos).

    `causal` blocks look only at earlier frames and take and return the last `kernel_size − 1` inputs as state;
    the others pad a beat's edges with zeros. Shapes: (B, T, dim) → (B, T, dim); state (B, kernel_size − 1, dim).
    """

    def __init__(self, dim: int, expansion: int, kernel_size: int, causal: bool) -> None:
        super().__init__()
        self.causal, self.context = causal, kernel_size - 1
        self.depthwise = nn.Conv1d(dim, dim, kernel_size, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, expansion * dim)
        self.down = nn.Linear(expansion * dim, dim)
        self.scale = nn.Parameter(torch.full((dim,), 0.1))

    def forward(self, frames: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.causal:
            if state is None:
                state = frames.new_zeros(frames.shape[0], self.context, frames.shape[2])
            padded = torch.cat([state, frames], dim=1)
        else:
            padded = F.pad(frames, (0, 0, self.context // 2, self.context // 2))
        mixed = self._mix(padded)
        out = frames + self.scale * self.down(F.gelu(self.up(self.norm(mixed)), approximate="tanh"))
        return out, padded[:, padded.shape[1] - self.context :]

    def _mix(self, padded: Tensor) -> Tensor:
        """The depthwise convolution: (B, T + kernel_size − 1, dim) → (B, T, dim).

        Without gradients it is written out, since turning the frames about for `conv1d` and back takes longer
        than the convolution; and every frame then rounds the same, however many there are.
        """
        if torch.is_grad_enabled():
            return self.depthwise(padded.transpose(1, 2)).transpose(1, 2)
        n_frames, taps = padded.shape[1] - self.context, self.depthwise.weight[:, 0].t().to(padded.dtype).contiguous()
        assert self.depthwise.bias is not None
        mixed = self.depthwise.bias.to(padded.dtype).expand_as(padded[:, :n_frames]).contiguous()
        for k in range(self.context + 1):
            mixed.addcmul_(padded[:, k : k + n_frames], taps[k])
        return mixed


class BlockStack(nn.ModuleList):
    """Blocks one after the other; a causal stack's state is the list of its blocks' states."""

    def __init__(self, n_layers: int, dim: int, expansion: int, kernel_size: int, causal: bool) -> None:
        super().__init__(ConvNeXtBlock(dim, expansion, kernel_size, causal) for _ in range(n_layers))

    def forward(self, frames: Tensor, states: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        new_states = []
        for i, block in enumerate(self):
            frames, state = block(frames, states[i] if states is not None else None)
            new_states.append(state)
        return frames, new_states
