"""The order in which a beat's codes are said: coarse codebooks first, finer ones some steps later."""

import torch
from torch import Tensor, nn


class DelayPattern(nn.Module):
    """Step s says codebook q of frame s − delays[q] (Copet et al. 2023, MusicGen); steps close with the beat."""

    present: Tensor
    frames: Tensor

    def __init__(self, delays: tuple[int, ...], n_frames: int) -> None:
        super().__init__()
        self.n_frames, self.n_steps = n_frames, n_frames + max(delays)
        frames = torch.arange(self.n_steps)[:, None] - torch.tensor(delays)
        present = (frames >= 0) & (frames < n_frames)
        self.register_buffer("present", present, persistent=False)  # (n_steps, n_codebooks)
        self.register_buffer("frames", frames.clamp(0, n_frames - 1), persistent=False)

    def to_steps(self, codes: Tensor) -> Tensor:
        """(..., n_frames, n_codebooks) → (..., n_steps, n_codebooks), 0 where nothing is said."""
        index = self.frames.expand(*codes.shape[:-2], *self.frames.shape)
        return codes.gather(-2, index) * self.present

    def to_frames(self, steps: Tensor) -> Tensor:
        """The inverse of `to_steps`."""
        codes = steps.new_zeros(*steps.shape[:-2], self.n_frames, steps.shape[-1])
        for q in range(steps.shape[-1]):
            delay = int(self.present[:, q].nonzero()[0, 0])
            codes[..., q] = steps[..., delay : delay + self.n_frames, q]
        return codes
