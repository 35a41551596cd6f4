"""Training the VQ-VAE on beats."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from melformer.audio.waveform import Waveform
from melformer.codec.codec import Codec
from melformer.codec.losses import CodecLoss
from melformer.config import Config
from melformer.data.beat_dataset import BeatDataset
from melformer.data.fresh import FreshBeats
from melformer.hub.codec_folder import save_codec
from melformer.train.distributed import training_device
from melformer.train.options import TrainOptions
from melformer.train.previews import N_CLIPS, decoded

STABILITY_WEIGHT = 0.5
FEWER_CODEBOOKS = 0.25
LATENTS_PER_ENTRY = 25


class CodecTask:
    """Reconstruct random crops of a few whole beats, with the last codebooks left out in some."""

    def __init__(self, config: Config, cache: Path, options: TrainOptions, crop_beats: int = 2) -> None:
        torch.manual_seed(options.seed)
        self.config, self.options, self.crop_beats = config, options, crop_beats
        self.device = training_device()
        self.module: Codec = Codec(config.codec).to(self.device)
        self.module.scorer.requires_grad_(False)  # it is trained afterwards, on the finished codec
        self.criterion = CodecLoss(self.module.decoder.stft, config.codec.stride).to(self.device)
        self.train_set: BeatDataset | FreshBeats = BeatDataset(cache, held_out=False, minimum_beats=crop_beats)
        self.held_out = BeatDataset(cache, held_out=True, minimum_beats=crop_beats)
        self.bypass_steps = options.warmup_steps

    def loss(self, model: nn.Module, rng: np.random.Generator, step: int) -> dict[str, Tensor]:
        size = self.options.batch_size
        crops = self.train_set.crops(rng, size, self.crop_beats)
        n_codebooks = self.module.quantizer.n_learned
        fewer = rng.random(size) < FEWER_CODEBOOKS
        depths = torch.from_numpy(np.where(fewer, rng.integers(1, n_codebooks + 1, size), n_codebooks))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        beats = torch.from_numpy(crops).to(self.device)
        nearly = None
        if step >= self.bypass_steps:
            nearly = torch.from_numpy(nearly_the_same(crops[:, :1], rng)).to(self.device)
        outcome = model(beats, depths.to(self.device), step < self.bypass_steps, nearly)
        with torch.autocast(self.device.type, enabled=False):
            parts = self.criterion(*self._aligned(outcome.samples.float(), beats), generator)
        parts["codebook"], parts["commitment"] = outcome.quantized.codebook_loss, outcome.quantized.commitment_loss
        parts["stability"] = outcome.stability
        parts["total"] = (
            parts["total"] + parts["codebook"] + 0.25 * parts["commitment"] + STABILITY_WEIGHT * parts["stability"]
        )
        return parts

    def _aligned(self, samples: Tensor, beats: Tensor) -> tuple[Tensor, Tensor]:
        """What is finished of the decoder's late samples, and the target they stand for."""
        delay = self.module.decoder.delay_samples
        return samples[:, delay:], beats.flatten(1)[:, :-delay]

    def after_step(self, step: int) -> list[str]:
        """Fit the codebooks to latents when the bypass ends, then bring dead entries back now and then.

        The latents are those of fresh crops, a function of the step alone; all processes end with the same codebooks.
        """
        starts = step == self.bypass_steps
        if not starts and (step < self.bypass_steps or step % 50 or step > 0.8 * self.options.steps):
            return []
        quantizer = self.module.quantizer
        rng = np.random.default_rng([self.options.seed, step, 2**31])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        if starts:
            n_parts = max(1, LATENTS_PER_ENTRY * self.config.codec.codebook_size // 1_000)
            latents = torch.cat([self._fresh_latents(rng) for _ in range(n_parts)])
            quantizer.fit(latents.flatten(0, 1), generator)
        else:
            quantizer.restart(self._fresh_latents(rng), generator, 0.3)
        if dist.is_initialized():
            for tensor in quantizer.state_dict().values():
                dist.broadcast(tensor, 0)
        names = [name for name, _ in quantizer.named_parameters() if starts or name.endswith(".codebook")]
        return [f"quantizer.{name}" for name in names]

    @torch.no_grad()
    def _fresh_latents(self, rng: np.random.Generator, n_crops: int = 24) -> Tensor:
        """Latents (n_crops · crop_beats, T, latent_dim) of random crops."""
        crops = self.train_set.crops(rng, n_crops, self.crop_beats).reshape(n_crops * self.crop_beats, -1)
        return self.module.encode_latents(torch.from_numpy(crops).to(self.device), False).float()

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Losses on held-out crops (always the same), and the share of each codebook that they use."""
        rng = np.random.default_rng(0)
        crops = np.stack([self.held_out.crop(rng, self.crop_beats) for _ in range(4 * self.options.batch_size)])
        beats = torch.from_numpy(crops).to(self.device)
        sums: dict[str, float] = {}
        codes = []
        for batch in beats.split(self.options.batch_size):
            outcome = self.module(batch)
            generator = torch.Generator().manual_seed(0)
            criterion = self.criterion
            n_scales, criterion.n_scales = criterion.n_scales, len(criterion.scales)
            parts = criterion(*self._aligned(outcome.samples, batch), generator)
            criterion.n_scales = n_scales
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value) / 4.0
            codes.append(outcome.quantized.codes)
        flat = torch.cat(codes).flatten(0, 1)
        used = [len(flat[:, q].unique()) / self.config.codec.codebook_size for q in range(flat.shape[1])]
        return {k: round(v, 4) for k, v in sums.items()} | {"used_first": used[0], "used_last": used[-1]}

    def clips(self) -> dict[str, Waveform]:
        """Held-out crops (always the same), and what the codec makes of them."""
        rng = np.random.default_rng(1)
        crops = np.stack([self.held_out.crop(rng, self.crop_beats) for _ in range(N_CLIPS)])
        return decoded(self.module, torch.from_numpy(crops).to(self.device))

    def export(self, directory: Path, record: dict[str, Any]) -> None:
        """Write `config.json`, `record.json` and `codec.safetensors` (16-bit floats) to a folder."""
        save_codec(directory, self.config, self.module, {"codec": record}, with_scorer=False)


def nearly_the_same(beats: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Beats (B, n, samples) as they come back in real music: half a decibel louder or softer, up to half a sample
    late, with noise at −60 dB."""
    n = beats.shape[-1]
    late = rng.uniform(-0.5, 0.5, beats.shape[:-1])[..., None]
    turned = np.fft.rfft(beats) * np.exp(-2j * np.pi * late * np.arange(n // 2 + 1) / n)
    gain = 10.0 ** (rng.uniform(-0.5, 0.5, late.shape) / 20.0)
    noise = rng.standard_normal(beats.shape) * (1e-3 * np.sqrt(np.square(beats).mean(axis=-1, keepdims=True)))
    return (gain * np.fft.irfft(turned, n) + noise).astype(np.float32)
