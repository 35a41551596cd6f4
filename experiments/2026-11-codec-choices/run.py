"""Train small codecs that differ in one choice each, for equal processor time, and measure them:

python experiments/2026-11-codec-choices/run.py OUT_DIR --data LOOPS --measure LOOPS [--minutes M] [--only NAME …]

What a choice wins in minutes and at a third of the width it need not win in hours: read the differences as hints.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from melformer.evaluate.bare_codec import BareCodec
from torch import Tensor

from melformer.codec.quantizer import ResidualVectorQuantizer
from melformer.config import Config
from melformer.data.beat_dataset import cache_beats
from melformer.evaluate import codec_scores
from melformer.evaluate.metrics.codebook_use import bits_per_second, codebook_use
from melformer.evaluate.sets import EvaluationClip, folder_clips
from melformer.train.options import TrainOptions
from melformer.train.tasks.codec import CodecTask
from melformer.train.trainer import Trainer

SMALL: dict[str, Any] = {"latent_dim": 128, "frame_dim": 128, "n_codebooks": 12}
TRIAL_STEPS = 12


@dataclass(frozen=True)
class Choice:
    """Sizes that differ from the shipped ones, a change of the finished task, and the codebooks to measure with."""

    sizes: dict[str, Any] = field(default_factory=dict)
    change: Callable[[CodecTask], None] = lambda task: None
    depths: tuple[int, ...] = (12,)


def without_noise(task: CodecTask) -> None:
    """No second magnitude for a fixed pattern of noise."""
    task.module.decoder.noise.zero_()


def complex_below(task: CodecTask) -> None:
    """Also the complex STFT distance below 3 kHz."""
    task.criterion.complex_weight = 2.0


def complex_everywhere(task: CodecTask) -> None:
    """Also the complex STFT distance, in all bins."""
    task.criterion.n_complex, task.criterion.complex_weight = task.module.decoder.stft.n_bins, 2.0


def rotate(projected: Tensor, entries: Tensor) -> Tensor:
    """The entries in value; gradients as if rotated and scaled there (Fifty et al. 2024, "the rotation trick")."""
    length, target = projected.norm(dim=-1, keepdim=True) + 1e-6, entries.norm(dim=-1, keepdim=True) + 1e-6
    e, q = (projected / length).detach(), (entries / target).detach()
    r = torch.nn.functional.normalize(e + q, dim=-1)
    turned = projected - 2 * (projected * r).sum(-1, keepdim=True) * r + 2 * (projected * e).sum(-1, keepdim=True) * q
    return (target / length).detach() * turned


def with_rotation(task: CodecTask) -> None:
    """The rotation trick in place of the straight-through gradient."""
    quantizer = task.module.quantizer
    assert isinstance(quantizer, ResidualVectorQuantizer)
    for book in quantizer.books():
        book.pass_gradient = rotate  # type: ignore[method-assign]


CHOICES = {
    "12 codebooks, small": Choice(depths=(12, 8, 5)),
    "40 latents, 5 codebooks": Choice({"latent_frames_per_beat": 40, "n_codebooks": 5}, depths=(5,)),
    "n_fft 4500": Choice({"n_fft": 4_500, "n_bins": 1_350, "n_tonal_bins": 288}),
    "40 frames, n_fft 5000, 20 latents, 10 codebooks": Choice(
        {"frames_per_beat": 40, "n_fft": 5_000, "n_bins": 1_500, "n_tonal_bins": 320, "latent_frames_per_beat": 20,
         "n_codebooks": 10}, depths=(10,),
    ),
    "64 frames, n_fft 3125": Choice({"frames_per_beat": 64, "n_fft": 3_125, "n_bins": 940, "n_tonal_bins": 200}),
    "64 frames, n_fft 3125, 32 latents, 6 codebooks": Choice(
        {"frames_per_beat": 64, "n_fft": 3_125, "n_bins": 940, "n_tonal_bins": 200, "latent_frames_per_beat": 32,
         "n_codebooks": 6}, depths=(6, 4),
    ),
    "32 frames, n_fft 3750": Choice({"frames_per_beat": 32, "n_fft": 3_750, "n_bins": 1_125, "n_tonal_bins": 240}),
    "no noise branch": Choice(change=without_noise),
    "complex loss below 3 kHz": Choice(change=complex_below),
    "complex loss everywhere": Choice(change=complex_everywhere),
    "rotation trick": Choice(change=with_rotation),
}  # fmt: skip


def configuration(choice: Choice) -> Config:
    """A codec without registers at a third of the width, with the choice's own sizes."""
    config = Config()
    codec = dataclasses.replace(config.codec, **(SMALL | choice.sizes))
    delays = (0,) * codec.n_codebooks  # a transformer is not trained, but must fit
    return Config(codec, dataclasses.replace(config.transformer, delays=delays))


def train(choice: Choice, cache: Path, run: Path, seconds: float) -> int:
    """Train for about so many seconds of this process and export to `run/checkpoint`; says in how many steps.

    A short trial tells how many steps fit, since the schedule of the learning rate needs to know.
    """

    def trainer(steps: int) -> Trainer:
        options = TrainOptions(
            steps=steps, batch_size=4, lr=1.5e-3, warmup_steps=max(5, steps // 10), ema_decay=0.98,
            validate_every=10**8, save_every=10**8, bf16=False,
        )  # fmt: skip
        task = CodecTask(configuration(choice), cache, options, crop_beats=2)
        choice.change(task)
        return Trainer(task, options, run)

    trial = trainer(2 * TRIAL_STEPS)
    trial.fit(TRIAL_STEPS)  # the first steps are slow
    begun = time.process_time()
    trial.fit()
    steps = max(50, round(seconds * TRIAL_STEPS / (time.process_time() - begun)))
    trainer(steps).fit()
    return steps


def measure(checkpoint: Path, clips: list[EvaluationClip], n_codebooks: int) -> dict[str, float]:
    """What loops come back as from the first `n_codebooks`; bits are those of a beat."""
    codec = BareCodec.from_folder(checkpoint, n_codebooks)
    sizes = (codec.config.latent_frames_per_beat, n_codebooks, codec.config.codebook_size)
    bits = bits_per_second(*sizes, bpm=60.0)
    mean = codec_scores.measure_codec(clips, codec.reconstruct, lambda bpm: bits / 1000.0).mean
    use = codebook_use(np.concatenate([codec.encode(clip.waveform, clip.bpm) for clip in clips]), sizes[2])
    return {
        "bits": bits, "entropy bits": sum(book.entropy_bits for book in use) * sizes[0],
        "mel": mean.mel_distance, "STFT": mean.stft_distance, "SI-SDR dB": mean.si_sdr_db, "onset F1": mean.onset_f1,
        "chroma": mean.chroma_cosine, "cents": mean.pitch_error_cents,
    }  # fmt: skip


def main() -> None:
    """Train and measure the choices one by one; a line each, as soon as it is known."""
    parser = argparse.ArgumentParser(description="Train small codecs that differ in one choice, and measure them.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="a folder of loops")
    parser.add_argument("--measure", type=Path, required=True, metavar="LOOPS", help="other loops, to measure on")
    parser.add_argument("--limit", type=int, default=24, metavar="N", help="only the first N of those (24)")
    parser.add_argument("--minutes", type=float, default=5.0, metavar="M", help="processor time of each (5)")
    parser.add_argument("--only", nargs="+", choices=list(CHOICES), default=list(CHOICES), metavar="NAME")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    clips = folder_clips(arguments.measure)[0][: arguments.limit]
    for name in arguments.only:
        grid = configuration(CHOICES[name]).codec.work_samples_per_beat
        cache, run = arguments.out / f"beats_{grid}", arguments.out / name.replace(" ", "_")
        cache_beats([arguments.data], cache, grid)
        steps = train(CHOICES[name], cache, run, 60.0 * arguments.minutes)
        for depth in CHOICES[name].depths:
            scores = measure(run / "checkpoint", clips, depth)
            print(name, f"codebooks {depth}, steps {steps}", *(f"{k} {v:.4g}" for k, v in scores.items()), sep=" | ")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
