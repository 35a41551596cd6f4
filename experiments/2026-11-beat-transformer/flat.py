"""The control: one flat transformer over frames, its codebooks delayed (Copet et al. 2023, MusicGen), no beat in it.

It is trained and measured beside the shipped design, never shipped.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from melformer.config import Config
from melformer.train.options import TrainOptions
from melformer.train.tasks.transformer import TransformerTask
from melformer.transformer.block import TransformerStack
from melformer.transformer.classifier import TiedCodeEmbedding
from melformer.transformer.delay_pattern import DelayPattern
from melformer.transformer.model import UNKNOWN_BAR_POSITION, Conditioning


@dataclass(frozen=True)
class FlatSizes:
    """Widths of the flat model; it looks `context_beats` beats back, frame by frame."""

    dim: int = 136
    n_layers: int = 5
    n_heads: int = 4
    n_kv_heads: int = 2
    context_beats: int = 16


class FlatTransformer(nn.Module):
    """Frames in a row, one step each; what is told besides codes is the same as for `BeatTransformer`."""

    def __init__(self, sizes: FlatSizes, delays: tuple[int, ...], n_frames: int, codebook_size: int) -> None:
        super().__init__()
        self.n_frames, self.delays, self.sizes = n_frames, delays, sizes
        self.codes = TiedCodeEmbedding(len(delays), codebook_size, sizes.dim)
        self.place = nn.Embedding(n_frames, sizes.dim)
        self.bar_position = nn.Embedding(UNKNOWN_BAR_POSITION + 1, sizes.dim)
        self.tempo = nn.Linear(2, sizes.dim)
        window = sizes.context_beats * n_frames
        self.stack = TransformerStack(
            sizes.n_layers, sizes.dim, sizes.n_heads, sizes.n_kv_heads, window, 10_000.0, 32, 0.1
        )

    def forward(self, codes: Tensor, conditioning: Conditioning) -> Tensor:
        """Logits of every step of a passage: int64 (B, N, n_frames, n_codebooks) → (B, n_steps, n_codebooks, size)."""
        pattern = DelayPattern(self.delays, codes.shape[1] * self.n_frames)
        steps = pattern.to_steps(codes.flatten(1, 2))
        before = self.codes.embed(steps, pattern.present).roll(1, dims=1)
        before[:, 0] = 0.0
        at = torch.arange(pattern.n_steps)
        beats = (at // self.n_frames).clamp_max(codes.shape[1] - 1)
        known = ~conditioning.tempo.isnan()
        features = torch.stack([conditioning.tempo.nan_to_num(0.0), known.float()], dim=-1)
        told = self.bar_position(conditioning.bar_positions[:, beats]) + self.tempo(features)[:, None]
        return self.codes.logits(self.stack(before + told + self.place(at % self.n_frames)))


class FlatModule(nn.Module):
    """The flat transformer with its loss as `forward`, in the form that `TransformerTask` asks for."""

    def __init__(self, transformer: FlatTransformer) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(
        self, heard: Tensor, said: Tensor, conditioning: Conditioning, chosen: Tensor, lag_mask: Tensor | None
    ) -> Tensor:
        """Log-likelihood (nats) of `said`'s chosen beats: (B, K, n_frames, n_codebooks); there are no lags to mask."""
        flat = self.transformer
        pattern = DelayPattern(flat.delays, said.shape[1] * flat.n_frames)
        targets = pattern.to_steps(said.flatten(1, 2))
        logits = flat(heard, conditioning)
        found = logits.log_softmax(dim=-1).gather(-1, targets[..., None])[..., 0]
        return pattern.to_frames(found * pattern.present).unflatten(1, (-1, flat.n_frames))[:, chosen]


class FlatTask(TransformerTask):
    """`TransformerTask` for the flat model: since it computes every beat anyway, it learns from every beat."""

    def __init__(self, config: Config, tokens: Path, options: TrainOptions, sizes: FlatSizes | None = None) -> None:
        super().__init__(config, tokens, options, n_beats=32, n_chosen=32)
        codec, delays = config.codec, config.transformer.delays
        torch.manual_seed(options.seed)
        flat = FlatTransformer(sizes or FlatSizes(), delays, codec.latent_frames_per_beat, codec.codebook_size)
        self.module: nn.Module = FlatModule(flat)  # type: ignore[assignment]

    @torch.inference_mode()
    def frame_step(self, batch: int) -> "FlatStepper":
        """One frame after another, for measuring what a beat costs."""
        assert isinstance(self.module, FlatModule)
        return FlatStepper(self.module.transformer, batch)


class FlatStepper:
    """Says frames one by one, as generation would."""

    def __init__(self, flat: FlatTransformer, batch: int) -> None:
        self.flat, self.position, self.caches = flat, 0, flat.stack.empty_caches(batch)
        self.batch = batch

    @torch.inference_mode()
    def beat(self, draws: np.random.Generator) -> None:
        """Sixteen frames of random codes: what is said does not change what it costs."""
        for frame in range(self.flat.n_frames):
            size, n = self.flat.codes.codebook_size, self.flat.codes.n_codebooks
            codes = torch.from_numpy(draws.integers(size, size=(self.batch, 1, n)))
            hidden = self.flat.codes.embed(codes, torch.ones(n, dtype=torch.bool)) + self.flat.place.weight[frame]
            self.flat.codes.logits(self.flat.stack.step(hidden, self.position, self.caches))
            self.position += 1
