"""Passages of tokens for training, read from the shards of `melformer train tokens`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from melformer.audio.grid import model_tempo
from melformer.data.beat_dataset import BeatDataset
from melformer.data.listing import load_array

PLAYED_ROUND, BARS_ROUND, MOST_ROUND = 0.25, (1, 2, 4), 3
"""Of a training's passages, the share that begins with bars played round; how many bars; how often they come back."""


@dataclass(frozen=True)
class TokenBatch:
    """Codes int64 (B, n_beats, frames, n_codebooks), log2(BPM / 120) (B,), bar positions int64 (B, n_beats)."""

    codes: torch.Tensor
    tempo: torch.Tensor
    bar_positions: torch.Tensor

    def to(self, device: torch.device) -> "TokenBatch":
        return TokenBatch(self.codes.to(device), self.tempo.to(device), self.bar_positions.to(device))


class TokenDataset:
    """Passages of tokens, memory-mapped. Loops shorter than a passage are repeated, as a musician would play them."""

    def __init__(self, folder: Path, held_out: bool) -> None:
        self.beats = BeatDataset(folder, held_out, minimum_beats=2)
        self.played_round = 0.0 if held_out else PLAYED_ROUND

    def batch(self, rng: np.random.Generator, size: int, n_beats: int) -> TokenBatch:
        """Random passages of `n_beats` beats each."""
        return token_batch([self._passage(rng, n_beats) for _ in range(size)])

    def _passage(self, rng: np.random.Generator, n_beats: int) -> tuple[np.ndarray, float, np.ndarray]:
        entry = self.beats.draw(rng)
        codes = loop_codes(self.beats.cache, entry)
        return passage_at(codes, entry["bpm"], entry["beats_per_bar"], n_beats, rng, self.played_round)


def token_batch(passages: Sequence[tuple[np.ndarray, float, np.ndarray]]) -> TokenBatch:
    """What `passage_at` gives, several times, as one batch."""
    codes, tempos, positions = zip(*passages)
    return TokenBatch(
        torch.from_numpy(np.stack(codes).astype(np.int64)), torch.tensor(tempos, dtype=torch.float32),
        torch.from_numpy(np.stack(positions)),
    )  # fmt: skip


def loop_codes(folder: Path, entry: dict[str, Any]) -> np.ndarray:
    """One loop's codes, memory-mapped: uint16 (n_beats, frames, n_codebooks). Errors: RequestError."""
    first = entry.get("start", 0)
    shard = load_array(folder / entry.get("shard", entry["name"]), np.uint16, 3, first + entry["n_beats"])
    return shard[first : first + entry["n_beats"]]


def passage_at(
    codes: np.ndarray,
    bpm: float,
    beats_per_bar: int,
    n_beats: int,
    rng: np.random.Generator,
    played_round: float = 0.0,
) -> tuple[np.ndarray, float, np.ndarray]:
    """A random passage of a loop: codes (n_beats, …), log2(model BPM / 120), bar positions (n_beats,).

    A share `played_round` begins with a few bars that come back, and then goes on: what repeats may yet leave.
    """
    folded, factor = model_tempo(bpm)
    bar = max(1, round(beats_per_bar * factor))
    start = int(rng.integers(max(1, len(codes) - n_beats + 1))) if len(codes) > n_beats else 0
    where = np.arange(n_beats)
    if rng.random() < played_round:
        n_round = bar * int(rng.choice(BARS_ROUND))
        where = np.maximum(where % n_round, where - n_round * int(rng.integers(1, MOST_ROUND + 1)))
    where = (start + where) % len(codes)
    return codes[where], float(np.log2(folded / 120.0)), where % bar
