"""Going on with a trained transformer on a musician's own loops, without forgetting the rest."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from melformer.audio.grid import model_tempo
from melformer.config import Config
from melformer.data.token_dataset import TokenBatch, passage_at
from melformer.files import atomic_path
from melformer.train.distributed import training_device
from melformer.train.lora import merged
from melformer.train.options import TrainOptions
from melformer.train.transformer import TransformerModule, TransformerTask
from melformer.transformer.model import UNKNOWN_BAR_POSITION, BeatTransformer, Conditioning

BY_LOOP = 8
"""From so many loops on, whole loops are held out; of fewer, the second half of each."""
HELD_OUT_SHARE = 0.2
MAX_LOST = 0.04
"""A state that is worse by more than this on the engine's passages is never kept."""
BEATS_AT_ONCE, MAX_SCORED = 8, 64


@dataclass(frozen=True)
class CodedLoop:
    """A loop in codes, int (model beats, frames, n_codebooks); `versions` are louder and softer ones, to learn from.

    Bits are counted from beat `scored_from` on.
    """

    name: str
    codes: np.ndarray
    bpm: float
    beats_per_bar: int
    versions: tuple[np.ndarray, ...] = ()
    scored_from: int = 0


def split(loops: Sequence[CodedLoop]) -> tuple[list[CodedLoop], list[CodedLoop]]:
    """What to learn from and what to hold out: a fifth of the loops (by name), or of few loops the second halves.

    At most 64 beats of a loop are scored.
    """
    if len(loops) >= BY_LOOP:
        order = sorted(loops, key=lambda loop: hashlib.sha256(loop.name.encode()).digest())
        n_out = max(2, round(HELD_OUT_SHARE * len(loops)))
        return order[n_out:], [replace(loop, codes=loop.codes[:MAX_SCORED], versions=()) for loop in order[:n_out]]
    train, held_out = [], []
    for loop in loops:
        half = len(loop.codes) // 2
        versions = tuple(codes[:half] for codes in (loop.versions or (loop.codes,)))
        train.append(replace(loop, codes=versions[0], versions=versions))
        held_out.append(replace(loop, codes=loop.codes[: half + MAX_SCORED], versions=(), scored_from=half))
    return train, held_out


class LoopMix:
    """Random passages: own loops, long ones more often, and a share of the engine's, as in `TokenDataset`."""

    def __init__(self, own: Sequence[CodedLoop], engine: Sequence[CodedLoop], engine_share: float) -> None:
        self.own, self.engine, self.engine_share = list(own), list(engine), engine_share if engine else 0.0

    def batch(self, rng: np.random.Generator, size: int, n_beats: int) -> TokenBatch:
        """`size` passages of `n_beats` beats; the engine's part of them is rounded down or up at random."""
        n_engine = int(size * self.engine_share + rng.random())
        kinds = [self.engine] * n_engine + [self.own] * (size - n_engine)
        codes, tempos, positions = zip(*(self._passage(loops, rng, n_beats) for loops in kinds))
        return TokenBatch(
            torch.from_numpy(np.stack(codes).astype(np.int64)), torch.tensor(tempos, dtype=torch.float32),
            torch.from_numpy(np.stack(positions)),
        )  # fmt: skip

    @staticmethod
    def _passage(
        loops: list[CodedLoop], rng: np.random.Generator, n_beats: int
    ) -> tuple[np.ndarray, float, np.ndarray]:
        weights = np.array([len(loop.codes) for loop in loops], float)
        loop = loops[int(rng.choice(len(loops), p=weights / weights.sum()))]
        versions = loop.versions or (loop.codes,)
        return passage_at(versions[int(rng.integers(len(versions)))], loop.bpm, loop.beats_per_bar, n_beats, rng)


class FinetuneTask(TransformerTask):
    """`TransformerTask` on a `LoopMix`, from a base's weights; the best state so far lies in `best`."""

    def __init__(
        self, config: Config, transformer: BeatTransformer, mix: LoopMix, own_held_out: Sequence[CodedLoop],
        engine_held_out: Sequence[CodedLoop], options: TrainOptions, best: Path,
    ) -> None:  # fmt: skip
        torch.manual_seed(options.seed)
        self.config, self.options, self.best = config, options, best
        self.n_beats, self.n_chosen = 32, 10
        self.device = training_device()
        self.module = TransformerModule(transformer).to(self.device)
        self.train_set = mix  # type: ignore[assignment]  # has what is asked of it: batches
        self.own_held_out, self.engine_held_out = own_held_out, engine_held_out
        self.history: list[dict[str, float]] = []

    def validate(self) -> dict[str, float]:
        """Bits per beat on held-out loops and on the engine's passages; the best state so far is written to disk."""
        transformer = self.module.transformer
        own, engine = (mean_bits(transformer, loops) for loops in (self.own_held_out, self.engine_held_out))
        self.history.append({"own": round(own, 2), "engine": round(engine, 2)})
        if best_index(self.history) == len(self.history) - 1:
            with atomic_path(self.best) as temporary:
                save_file(merged(transformer), temporary)
        return self.history[-1]


def best_index(history: Sequence[dict[str, float]]) -> int:
    """Which validation had the fewest bits on held-out loops, among those that lost little elsewhere.

    The first one is the base itself.
    """
    limit = history[0]["engine"] * (1.0 + MAX_LOST)
    allowed = [i for i, entry in enumerate(history) if entry["engine"] <= limit]
    return min(allowed, key=lambda i: history[i]["own"])


def mean_bits(transformer: BeatTransformer, loops: Sequence[CodedLoop]) -> float:
    """Mean bits of a beat over the scored beats of some loops."""
    return float(np.concatenate([beat_bits(transformer, loop)[loop.scored_from :] for loop in loops]).mean())


@torch.inference_mode()
def beat_bits(transformer: BeatTransformer, loop: CodedLoop) -> np.ndarray:
    """Bits of each beat of a loop after the beats before it, (model beats,), as `melformer evaluate` counts them."""
    device = next(transformer.parameters()).device
    codes = torch.from_numpy(loop.codes.astype(np.int64)).to(device)[None]
    folded, factor = model_tempo(loop.bpm)
    positions = torch.arange(codes.shape[1], device=device) % max(1, round(loop.beats_per_bar * factor))
    tempo = torch.tensor([math.log2(folded / 120.0)], device=device)
    conditioning = Conditioning(tempo, positions.clamp_max(UNKNOWN_BAR_POSITION - 1)[None])
    was_training = transformer.training
    transformer.eval()
    bits = []
    for chosen in torch.arange(codes.shape[1], device=device).split(BEATS_AT_ONCE):
        prediction = transformer(codes, conditioning, chosen)
        likelihood = transformer.log_likelihood(prediction, codes, codes, chosen)
        bits.append(-likelihood[0].sum(dim=(1, 2)) / math.log(2.0))
    transformer.train(was_training)
    return torch.cat(bits).cpu().numpy()
