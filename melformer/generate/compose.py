"""The transformer at work: one model beat of codes after another, for one or several takes at once."""

from copy import copy

import numpy as np
import torch
from torch import Tensor

from melformer.generate.prompt import Prompt
from melformer.generate.sampling import Settings, mixture, sample_codes
from melformer.transformer.model import (
    UNKNOWN_BAR_POSITION,
    BeatTransformer,
    Conditioning,
    Prediction,
    TransformerState,
)

MIN_BATCH = 2
"""Takes are computed in batches of at least two rows: a single row goes through other matrix kernels, which round
differently, and a seed must give the same take alone and among many."""


class Composer:
    """Continues a prompt's codes; `seeds` (K,) are the takes. Every draw is a pure function of (seed, beat)."""

    def __init__(
        self, transformer: BeatTransformer, prompt: Prompt, seeds: list[int], state: TransformerState | None = None
    ) -> None:
        self.transformer = transformer
        self.seeds: list[tuple[int, ...]] = [(seed,) for seed in seeds]
        self.bar = max(1, round(prompt.beats_per_bar * prompt.model_beats_per_beat))
        self.tempo = float(np.log2(prompt.model_bpm / 120.0))
        self.batch = max(MIN_BATCH, len(seeds))
        self.n_prompt = len(prompt.codes)
        self.state = self._read(prompt.codes) if state is None else state

    @torch.inference_mode()
    def _read(self, codes: np.ndarray) -> TransformerState:
        """Let the transformer hear the prompt once, for all takes."""
        state = self.transformer.begin(self.batch, self._conditioning(0))
        for beat in torch.from_numpy(codes):
            said = beat.expand(self.batch, *beat.shape)
            self.transformer.advance(state, said, self._conditioning(state.position + 1))
        return state

    def bar_position(self, position: int) -> int:
        """Where in its bar model beat `position` lies (0 is the prompt's first): the prompt ends on a bar line, as
        loops do."""
        return (position - self.n_prompt) % self.bar if self.bar <= UNKNOWN_BAR_POSITION else UNKNOWN_BAR_POSITION

    def _conditioning(self, position: int) -> Conditioning:
        bar_positions = torch.full((self.batch, 1), self.bar_position(position))
        return Conditioning(torch.full((self.batch,), self.tempo), bar_positions)

    @property
    def n_composed(self) -> int:
        """Model beats composed so far."""
        return self.state.position - self.n_prompt

    def history(self, row: int, most: int) -> tuple[Tensor, int]:
        """The last beats of one take, prompt included, at most `most` and those that are remembered: int64
        (N, n_frames, n_codebooks), and the position of the first."""
        remembered = self.state.columns.codes
        n = min(most, self.state.position, remembered.shape[1])
        slots = torch.arange(self.state.position - n, self.state.position) % remembered.shape[1]
        return self.transformer.pattern.to_frames(remembered[row, slots]), self.state.position - n

    def branch(self, row: int, n: int) -> "Composer":
        """`n` takes that share the past of take `row`; the first goes on as that take would."""
        other = copy(self)
        other.seeds = [self.seeds[row]] + [(*self.seeds[row], i) for i in range(1, n)]
        other.batch = max(MIN_BATCH, n)
        other.state = self.state.rows(torch.full((other.batch,), row))
        return other

    @torch.inference_mode()
    def next_beat(self, settings: Settings) -> Tensor:
        """The next model beat of every take: int64 (K, n_frames, n_codebooks)."""
        pattern = self.transformer.pattern
        draws = self._draws(pattern.n_steps)
        caches = self.transformer.steps.empty_caches(self.batch)
        steps = torch.zeros(self.batch, pattern.n_steps, self.transformer.n_codebooks, dtype=torch.int64)
        said = None
        for step in range(pattern.n_steps):
            prediction = self.transformer.step(self.state, step, said, caches)
            said = self._say(prediction, step, settings, draws[:, step])
            steps[:, step] = said
        codes = pattern.to_frames(steps)[: len(self.seeds)]
        self.hear(codes)
        return codes

    @torch.inference_mode()
    def hear(self, codes: Tensor) -> None:
        """Take a model beat as said, one for every take: int64 (K, n_frames, n_codebooks)."""
        rows = torch.cat([codes, codes[-1:].expand(self.batch - len(codes), *codes.shape[1:])])
        self.transformer.advance(self.state, rows, self._conditioning(self.state.position + 1))

    def _say(self, prediction: Prediction, step: int, settings: Settings, draws: Tensor) -> Tensor:
        """Choose the codes of one step; rows that only fill the batch repeat the last take's."""
        n = len(self.seeds)
        real = Prediction(prediction.logits[:n], prediction.gates[:n], prediction.pointer[:n])
        probabilities = mixture(real, self.state.columns.codes[:n, :, step], settings.variation)
        said = sample_codes(probabilities, settings, draws) * self.transformer.pattern.present[step]
        return torch.cat([said, said[-1:].expand(self.batch - n, -1)])

    def _draws(self, n_steps: int) -> Tensor:
        """Uniform numbers of this beat for every take: (K, n_steps, n_codebooks)."""
        shape = (n_steps, self.transformer.n_codebooks)
        generators = [np.random.default_rng([*seed, self.n_composed]) for seed in self.seeds]
        return torch.from_numpy(np.stack([generator.random(shape, np.float32) for generator in generators]))
