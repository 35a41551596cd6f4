"""The decoder, taught a musician's own sounds. Encoder and codebooks stay, so that codes keep their meaning."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from melformer.audio.waveform import Waveform
from melformer.codec.codec import Codec
from melformer.codec.losses import CodecLoss
from melformer.data.own_loops import OwnLoop, beats_of
from melformer.errors import RequestError
from melformer.files import atomic_path
from melformer.train.distributed import training_device
from melformer.train.finetune.task import CodedLoop
from melformer.train.options import TrainOptions
from melformer.train.trainer import Trainer

CROP_BEATS, N_HELD_OUT_CROPS = 3, 16


@dataclass(frozen=True)
class Sounding:
    """A loop in codes, int64 (model beats, frames, n_codebooks), and in samples, float32 (model beats, samples)."""

    codes: np.ndarray
    beats: np.ndarray


class DecoderTask:
    """Own loops' codes back into their sound; the best state so far lies in `best`."""

    def __init__(
        self, codec: Codec, loops: Sequence[Sounding], held_out: Sequence[Sounding], options: TrainOptions, best: Path
    ) -> None:
        self.options, self.best, self.loops, self.device = options, best, loops, training_device()
        self.codec = codec.to(self.device).requires_grad_(False)
        self.module: nn.Module = codec.decoder.requires_grad_(True)
        self.criterion = CodecLoss(codec.decoder.stft, codec.config.stride).to(self.device)
        rng = np.random.default_rng(0)
        self.held_out = [self._crops(held_out, rng) for _ in range(-(-N_HELD_OUT_CROPS // options.batch_size))]
        self.history: list[float] = []

    def _crops(self, loops: Sequence[Sounding], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Latents (B, T, latent_dim) and samples (B, n) of random whole beats, level and sign drawn too."""
        codes, beats = [], []
        for _ in range(self.options.batch_size):
            loop = loops[int(rng.integers(len(loops)))]
            start = int(rng.integers(len(loop.codes) - CROP_BEATS + 1))
            codes.append(loop.codes[start : start + CROP_BEATS])
            beats.append(loop.beats[start : start + CROP_BEATS])
        with torch.no_grad():
            latents = self.codec.quantizer.decode(torch.from_numpy(np.stack(codes)).to(self.device).flatten(1, 2))
        return latents, torch.from_numpy(np.stack(beats)).to(self.device).flatten(1)

    def _compare(self, model: nn.Module, crops: tuple[Tensor, Tensor], seed: int) -> dict[str, Tensor]:
        latents, target = crops
        samples, _ = model(latents)
        delay = self.codec.decoder.delay_samples
        with torch.autocast(self.device.type, enabled=False):
            return self.criterion(samples.float()[:, delay:], target[:, :-delay], torch.Generator().manual_seed(seed))

    def loss(self, model: nn.Module, rng: np.random.Generator, step: int) -> dict[str, Tensor]:
        return self._compare(model, self._crops(self.loops, rng), int(rng.integers(2**62)))

    def after_step(self, step: int) -> list[str]:
        """Nothing is moved by hand."""
        return []

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """The loss on held-out crops, always the same; the best state so far is written to disk."""
        losses = [float(self._compare(self.module, crops, 0)["total"]) for crops in self.held_out]
        self.history.append(round(float(np.mean(losses)), 4))
        if self.history[-1] == min(self.history):
            with atomic_path(self.best) as temporary:
                save_file({name: t.cpu().contiguous() for name, t in self.module.state_dict().items()}, temporary)
        return {"total": self.history[-1]}

    def clips(self) -> dict[str, Waveform]:
        return {}

    def export(self, directory: Path, record: dict[str, Any]) -> None:
        """The caller takes `best`."""


def teach_decoder(
    codec: Codec, folder: Path, loops: Sequence[OwnLoop], parts: tuple[Sequence[CodedLoop], Sequence[CodedLoop]],
    options: TrainOptions, run: Path, say: Callable[[str], None],
) -> tuple[dict[str, Tensor], dict[str, float]]:  # fmt: skip
    """Train the decoder on the first of `parts`, and keep what the second likes best.

    Gives its tensors, named as in a bundle, and its loss there before and after.
    Errors: RequestError when all loops are shorter than a crop.
    """
    by_name = {loop.file: loop for loop in loops}
    learned, held_out = ([_sounding(codec, part, by_name[part.name], folder) for part in group] for group in parts)
    task = DecoderTask(codec, _long(learned), _long(held_out), options, run / "best.safetensors")
    trainer = Trainer(task, options, run)
    task.validate()
    if (run / "state.pt").exists():
        trainer.resume()
        trainer._with_ema(task.validate)
    trainer.fit()
    before, after = task.history[0], min(task.history)
    say(f"decoder: loss {before:.3f} on your held-out loops, {after:.3f} after {trainer.step} steps")
    tensors = {f"codec.decoder.{name}": tensor for name, tensor in load_file(task.best).items()}
    return tensors, {"decoder_loss_own_before": before, "decoder_loss_own_after": after}


def _long(loops: list[Sounding]) -> list[Sounding]:
    long = [loop for loop in loops if len(loop.codes) >= CROP_BEATS]
    if not long:
        raise RequestError(f"A decoder learns from {CROP_BEATS} beats at once; give longer loops, or no decoder steps.")
    return long


def _sounding(codec: Codec, part: CodedLoop, loop: OwnLoop, folder: Path) -> Sounding:
    """The part of a loop that is learned from, or scored, with its sound."""
    beats = beats_of(loop, folder, codec.config.samples_per_beat)[part.scored_from : len(part.codes)]
    return Sounding(part.codes[part.scored_from :].astype(np.int64), beats.astype(np.float32).clip(-1.0, 1.0))
