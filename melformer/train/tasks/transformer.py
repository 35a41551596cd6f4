"""Training the transformer on tokens, above a frozen codec."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from melformer.audio.waveform import Waveform
from melformer.config import Config
from melformer.data.fresh import FreshTokens
from melformer.data.token_dataset import TokenBatch, TokenDataset
from melformer.train.distributed import training_device
from melformer.train.options import TrainOptions
from melformer.transformer.model import UNKNOWN_BAR_POSITION, BeatTransformer, Conditioning

TOKEN_NOISE, LAG_DROPOUT, CONDITION_DROPOUT = 0.05, 0.2, 0.1


class TransformerModule(nn.Module):
    """The transformer with its loss as `forward`, so that several processes can average its gradients."""

    def __init__(self, transformer: BeatTransformer) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(
        self, heard: Tensor, said: Tensor, conditioning: Conditioning, chosen: Tensor, lag_mask: Tensor | None
    ) -> Tensor:
        """Log-likelihood (nats) of `said`'s chosen beats after hearing `heard`: (B, K, n_steps, n_codebooks)."""
        transformer = self.transformer
        prediction = transformer(heard, conditioning, chosen, lag_mask)
        with torch.autocast(heard.device.type, enabled=False):
            return transformer.log_likelihood(prediction, heard, said, chosen)


class TransformerTask:
    """Predict a random choice of beats of a passage; the beat level hears them all.

    Against getting stuck in copying: some heard codes are wrong (noise), some earlier beats cannot be seen (lag
    dropout), and tempo and bar position are now and then not told. `write` makes a checkpoint, `continued` sounds for
    those who follow the training: both need a codec.
    """

    def __init__(
        self, config: Config, tokens: Path, options: TrainOptions, n_beats: int = 64, n_chosen: int = 10,
        write: Callable[[Path, BeatTransformer, dict[str, Any]], None] | None = None,
        continued: Callable[[BeatTransformer, TokenDataset], dict[str, Waveform]] | None = None,
    ) -> None:  # fmt: skip
        torch.manual_seed(options.seed)
        self.config, self.options, self.n_beats, self.n_chosen = config, options, n_beats, n_chosen
        self.write, self.continued = write, continued
        codec = config.codec
        transformer = BeatTransformer(config.transformer, codec.latent_frames_per_beat, codec.codebook_size)
        self.device = training_device()
        self.module = TransformerModule(transformer).to(self.device)
        self.train_set: TokenDataset | FreshTokens = TokenDataset(tokens, held_out=False)
        self.held_out = TokenDataset(tokens, held_out=True)

    def loss(self, model: nn.Module, rng: np.random.Generator, step: int) -> dict[str, Tensor]:
        batch = self.train_set.batch(rng, self.options.batch_size, self.n_beats).to(self.device)
        heard = self._with_noise(batch.codes, rng)
        chosen = self._given(np.sort(rng.choice(self.n_beats, self.n_chosen, replace=False)))
        hidden = LAG_DROPOUT * (rng.random((self.n_chosen, 1)) < 0.7)
        lag_mask = self._given(rng.random((self.n_chosen, self.n_beats)) >= hidden)
        likelihood = model(heard, batch.codes, self._conditioning(batch, rng), chosen, lag_mask)
        bits = -likelihood.sum(dim=(-1, -2)).mean() / np.log(2.0)
        return {"total": bits / batch.codes[0, 0].numel(), "bits_per_beat": bits.detach()}

    def _with_noise(self, codes: Tensor, rng: np.random.Generator) -> Tensor:
        size = self.config.codec.codebook_size
        rate = TOKEN_NOISE * rng.random((len(codes), self.n_beats, 1, 1)) * 2.0
        wrong = self._given(rng.random(codes.shape) < rate)
        return torch.where(wrong, self._given(rng.integers(size, size=codes.shape)), codes)

    def _conditioning(self, batch: TokenBatch, rng: np.random.Generator) -> Conditioning:
        no_tempo = self._given(rng.random(len(batch.tempo)) < CONDITION_DROPOUT)
        no_bar = self._given(rng.random((len(batch.tempo), 1)) < CONDITION_DROPOUT)
        positions = batch.bar_positions.clamp_max(UNKNOWN_BAR_POSITION - 1)
        return Conditioning(
            torch.where(no_tempo, torch.nan, batch.tempo), torch.where(no_bar, UNKNOWN_BAR_POSITION, positions)
        )

    def _given(self, drawn: np.ndarray) -> Tensor:
        return torch.from_numpy(drawn).to(self.device)

    def after_step(self, step: int) -> list[str]:
        """Nothing is moved by hand."""
        return []

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Bits per beat on 32 held-out passages (always the same), all of it and where nothing repeats exactly."""
        rng = np.random.default_rng(0)
        sums = {"bits_per_beat": 0.0, "new_beats": 0.0, "repeated_beats": 0.0}
        counts = dict.fromkeys(sums, 0)
        chosen = torch.arange(8, self.n_beats, 4, device=self.device)
        for _ in range(4):
            batch = self.held_out.batch(rng, 8, self.n_beats).to(self.device)
            conditioning = Conditioning(batch.tempo, batch.bar_positions.clamp_max(UNKNOWN_BAR_POSITION - 1))
            likelihood = self.module(batch.codes, batch.codes, conditioning, chosen, None)
            bits = -likelihood.sum(dim=(-1, -2)) / np.log(2.0)
            repeated = repeats(batch.codes)[:, chosen]
            masks = {"bits_per_beat": repeated >= 0, "new_beats": repeated == 0, "repeated_beats": repeated == 1}
            for name, mask in masks.items():
                sums[name] += float(bits[mask].sum())
                counts[name] += int(mask.sum())
        return {name: round(sums[name] / max(1, counts[name]), 2) for name in sums}

    def clips(self) -> dict[str, Waveform]:
        """Held-out passages continued."""
        return self.continued(self.module.transformer, self.held_out) if self.continued else {}

    def export(self, directory: Path, record: dict[str, Any]) -> None:
        """Write a checkpoint."""
        if self.write:
            self.write(directory, self.module.transformer, record)


def repeats(codes: Tensor) -> Tensor:
    """1 where a beat equals an earlier one of its passage exactly, else 0: (B, N, …) → int64 (B, N)."""
    same = (codes[:, :, None] == codes[:, None]).flatten(3).all(dim=-1)
    return same.tril(-1).any(dim=-1).long()
