"""Material that is composed for the step that learns from it, and never heard again."""

from collections.abc import Iterator

import numpy as np

from melformer.audio.grid import loop_beats
from melformer.audio.io import Waveform
from melformer.codec.codec import Codec
from melformer.corpus import Passage, iterate
from melformer.data.beat_dataset import roughened
from melformer.data.token_dataset import PLAYED_ROUND, TokenBatch, passage_at, token_batch

CROPS_PER_PASSAGE = 4


def passages(rng: np.random.Generator) -> Iterator[tuple[Passage, Waveform]]:
    """The engine's passages from a seed of 62 bits that `rng` draws: other ones for every step and process."""
    return iterate(int(rng.integers(2**62)))


class FreshBeats:
    """The crops of a `BeatDataset`, from passages of the moment."""

    def __init__(self, samples_per_beat: int) -> None:
        self.samples_per_beat = samples_per_beat

    def crops(self, rng: np.random.Generator, size: int, n_beats: int) -> np.ndarray:
        """Augmented runs of whole beats, a few from each passage: → float32 (size, n_beats, samples_per_beat)."""
        found: list[np.ndarray] = []
        stream = passages(rng)
        while len(found) < size:
            passage, waveform = next(stream)
            beats = loop_beats(waveform, passage.bpm, self.samples_per_beat)
            if len(beats) >= n_beats:
                starts = rng.integers(len(beats) - n_beats + 1, size=CROPS_PER_PASSAGE)
                found += [beats[start : start + n_beats] for start in starts]
        others = iter(rng.permutation(len(found)))
        return np.stack([roughened(crop, lambda: found[next(others)], rng) for crop in found[:size]])


class FreshTokens:
    """The batches of a `TokenDataset`, from passages of the moment, encoded by the frozen codec."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec

    def batch(self, rng: np.random.Generator, size: int, n_beats: int) -> TokenBatch:
        """Random runs of `n_beats` beats, one from each passage."""
        found: list[tuple[np.ndarray, float, np.ndarray]] = []
        stream = passages(rng)
        while len(found) < size:
            passage, waveform = next(stream)
            codes = self.codec.encode_loop(waveform, passage.bpm)
            if len(codes) > 1:
                found.append(passage_at(codes, passage.bpm, passage.beats_per_bar, n_beats, rng, PLAYED_ROUND))
        return token_batch(found)
