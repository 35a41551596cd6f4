"""Training the VQ-VAE on beats."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn

from melformer.audio.waveform import Waveform
from melformer.codec.codec import Codec
from melformer.codec.losses import CodecLoss
from melformer.config import Config
from melformer.data import BeatDataset
from melformer.files import atomic_path
from melformer.train.clips import N_CLIPS, decoded
from melformer.train.fresh import FreshBeats
from melformer.train.options import TrainOptions
from melformer.train.processes import training_device


class CodecTask:
    """Reconstruct random crops of a few whole beats, with some codebooks left out half of the time."""

    def __init__(self, config: Config, cache: Path, options: TrainOptions, crop_beats: int = 3) -> None:
        torch.manual_seed(options.seed)
        self.config, self.options, self.crop_beats = config, options, crop_beats
        self.device = training_device()
        self.module: Codec = Codec(config.codec).to(self.device)
        self.criterion = CodecLoss(self.module.decoder.stft).to(self.device)
        self.train_set: BeatDataset | FreshBeats = BeatDataset(cache, held_out=False, minimum_beats=crop_beats)
        self.held_out = BeatDataset(cache, held_out=True, minimum_beats=crop_beats)
        self.bypass_steps = options.warmup_steps

    def loss(self, model: nn.Module, rng: np.random.Generator, step: int) -> dict[str, Tensor]:
        size = self.options.batch_size
        crops = self.train_set.crops(rng, size, self.crop_beats)
        n_codebooks = self.config.codec.n_codebooks
        depths = torch.from_numpy(
            np.where(rng.random(size) < 0.5, n_codebooks, rng.integers(1, n_codebooks + 1, size))
        )
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        beats = torch.from_numpy(crops).to(self.device)
        samples, quantized = model(beats, depths.to(self.device), step < self.bypass_steps)
        with torch.autocast(self.device.type, enabled=False):
            parts = self.criterion(*self._aligned(samples.float(), beats), generator)
        parts["codebook"], parts["commitment"] = quantized.codebook_loss, quantized.commitment_loss
        parts["total"] = parts["total"] + parts["codebook"] + 0.25 * parts["commitment"]
        return parts

    def _aligned(self, samples: Tensor, beats: Tensor) -> tuple[Tensor, Tensor]:
        """What is finished of the decoder's late samples, and the target they stand for."""
        delay = self.module.decoder.delay_samples
        return samples[:, delay:], beats.flatten(1)[:, :-delay]

    def after_step(self, step: int) -> list[str]:
        """Start the codebooks from latents when the bypass ends, then bring dead entries back now and then.

        The latents are those of fresh crops, a function of the step alone; all processes end with the same codebooks.
        """
        starts = step == self.bypass_steps
        if not starts and (step < self.bypass_steps or step % 50 or step > 0.8 * self.options.steps):
            return []
        rng = np.random.default_rng([self.options.seed, step, 2**31])
        crops = self.train_set.crops(rng, 24, self.crop_beats).reshape(24 * self.crop_beats, -1)
        with torch.no_grad():
            latents = self.module.encode_latents(torch.from_numpy(crops).to(self.device))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        self.module.quantizer.restart(latents, generator, 2.0 if starts else 0.3)
        if dist.is_initialized():
            for book in self.module.quantizer.books():
                dist.broadcast(book.codebook.data, 0)
                dist.broadcast(book.usage, 0)
        return [f"quantizer.codebooks.{q}.codebook" for q in range(len(self.module.quantizer.codebooks))]

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Losses on held-out crops (always the same), and the share of each codebook that they use."""
        rng = np.random.default_rng(0)
        crops = np.stack([self.held_out.crop(rng, self.crop_beats) for _ in range(4 * self.options.batch_size)])
        beats = torch.from_numpy(crops).to(self.device)
        sums: dict[str, float] = {}
        codes = []
        for batch in beats.split(self.options.batch_size):
            samples, quantized = self.module(batch)
            generator = torch.Generator().manual_seed(0)
            criterion = self.criterion
            n_scales, criterion.n_scales = criterion.n_scales, len(criterion.scales)
            parts = criterion(*self._aligned(samples, batch), generator)
            criterion.n_scales = n_scales
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value) / 4.0
            codes.append(quantized.codes)
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
        save_codec(directory, self.config, self.module, record)


def save_codec(directory: Path, config: Config, codec: Codec, record: dict[str, Any]) -> None:
    """A codec alone, ready to be frozen under a transformer."""
    tensors = {name: t.to(torch.float16).contiguous() for name, t in codec.state_dict().items()}
    with atomic_path(directory / "codec.safetensors") as temporary:
        save_file(tensors, temporary)
    for name, values in (("config.json", config.to_dict()), ("record.json", record)):
        with atomic_path(directory / name) as temporary:
            temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
