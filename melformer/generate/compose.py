"""The transformer at work: one model beat of codes after another, for one or several takes at once."""

from collections.abc import Iterator, Sequence
from copy import copy

import numpy as np
import torch
from torch import Tensor

from melformer.generate.ear import Ear
from melformer.generate.prompt import Prompt
from melformer.generate.quiet import Quiet
from melformer.generate.repeats import longest_run, same_beats
from melformer.generate.sampling import Settings, say
from melformer.generate.strange import Strange
from melformer.transformer.model import UNKNOWN_BAR_POSITION, BeatTransformer, Conditioning, TransformerState
from melformer.transformer.saying import Speaker, StepPrediction

MIN_BATCH = 2
"""Takes are computed in batches of at least two rows: a single row goes through other matrix kernels, which round
differently, and a seed must give the same take alone and among many."""

LEAST_HEARD = 8
"""Model beats that the transformer hears before it composes: a shorter loop is heard several times over, as it would be
played. Heard once, a bar or two say too little of what may follow (docs/decisions.md)."""
MOST_REPEATS = 6
"""How often a beat may follow itself, where the prompt does not repeat one more often."""
MOST_DRAWS = 3
"""How often a beat is drawn, if what came out may not be."""


def heard_codes(prompt: Prompt) -> np.ndarray:
    """What the transformer hears of a prompt, whole rounds of it: int64 (model beats, frames, n_codebooks)."""
    codes = prompt.codes
    rounds = -(-LEAST_HEARD // len(codes)) if prompt.n_model_beats == len(codes) else 1  # half a beat is no round
    return np.tile(codes, (rounds, 1, 1))


class Composer:
    """Continues a prompt's codes; `seeds` (K,) are the takes. Every draw is a pure function of (seed, beat)."""

    def __init__(
        self, transformer: BeatTransformer, prompt: Prompt, seeds: list[int], ear: Ear,
        state: TransformerState | None = None,
    ) -> None:  # fmt: skip
        self.transformer = transformer
        self.seeds: list[tuple[int, ...]] = [(seed,) for seed in seeds]
        self.bar = max(1, round(prompt.beats_per_bar * prompt.model_beats_per_beat))
        self.tempo = float(np.log2(prompt.model_bpm / 120.0))
        self.batch = max(MIN_BATCH, len(seeds))
        heard = heard_codes(prompt)
        self.n_prompt = len(heard)
        self.prompt_codes = torch.from_numpy(heard)
        self.most_repeats = max(MOST_REPEATS, longest_run(prompt.codes))
        self.strange = Strange(ear, prompt.codes, self.bar)
        self.quiet = Quiet(prompt, ear, transformer.codebook_size)
        remembered = transformer.config.context_beats
        self.loop_lag = min(self.n_prompt, max(1, remembered // self.bar * self.bar))  # of a long loop the last bars
        self.state = self._read(heard) if state is None else state
        self.speaker = Speaker(transformer, self.batch)

    @torch.inference_mode()
    def _read(self, codes: np.ndarray) -> TransformerState:
        """Let the transformer hear the prompt once, for all takes."""
        positions = torch.tensor([[self.bar_position(i) for i in range(len(codes) + 1)]])
        heard = Conditioning(torch.tensor([self.tempo]), positions)
        state = self.transformer.read(torch.from_numpy(codes)[None], heard)
        return state.rows(torch.zeros(self.batch, dtype=torch.int64))

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
        ring, end = self.state.ring, self.state.position
        n = min(most, end, ring.capacity)
        steps = ring.codes[:, row, torch.arange(end - n, end) % ring.capacity].transpose(0, 1)
        return self.transformer.pattern.to_frames(steps), end - n

    def branch(self, row: int, n: int) -> "Composer":
        """`n` takes that share the past of take `row`; the first goes on as that take would."""
        other = copy(self)
        other.seeds = [self.seeds[row]] + [(*self.seeds[row], i) for i in range(1, n)]
        other.batch = max(MIN_BATCH, n)
        other.state = self.state.rows(torch.full((other.batch,), row))
        other.speaker = Speaker(self.transformer, other.batch)
        return other

    @torch.inference_mode()
    def next_beat(self, settings: Settings) -> Tensor:
        """The next model beat of every take: int64 (K, n_frames, n_codebooks)."""
        codes = self._looped() if settings.variation == 0.0 else self._fitting(settings)
        self.hear(codes)
        return codes

    def _fitting(self, settings: Settings) -> Tensor:
        """Takes whose beat does not fit draw another one; after `MOST_DRAWS` they go back to the prompt, at the same
        place in the bar."""
        again = self.prompt_codes[self.n_composed % self.n_prompt]
        codes, unfit = again.repeat(len(self.seeds), 1, 1), list(range(len(self.seeds)))
        for drawn in self._candidates(settings):
            codes[unfit] = drawn[unfit]
            unfit = [row for row in unfit if not self._fits(row, codes[row], settings)]
            if not unfit:
                return codes
        codes[unfit] = again
        return codes

    def _candidates(self, settings: Settings) -> Iterator[Tensor]:
        """Up to `MOST_DRAWS` draws of this beat, each int64 (K, n_frames, n_codebooks); a take that is alone has the
        second one for nothing, in the row that fills its batch."""
        n = len(self.seeds)
        at_once = self.batch // n
        for first in range(0, MOST_DRAWS, at_once):
            yield from self._drawn(settings, range(first, min(first + at_once, MOST_DRAWS))).split(n)

    def _fits(self, row: int, beat: Tensor, settings: Settings) -> bool:
        """Whether a beat (n_frames, n_codebooks) may follow in a take: one that would be repeated, or be quiet, more
        often in a row than the prompt ever does, or take on a colour, a harmony or a level that it has not, may not."""
        before, _ = self.history(row, self.strange.n_heard - 1)
        if self.strange(torch.cat([before, beat[None]])) > 2.0 * settings.variation:
            return False
        return not self._is_stuck(row, beat.numpy()) and not self._is_too_quiet(row, beat.numpy())

    def _is_stuck(self, row: int, beat: np.ndarray) -> bool:
        n = self.most_repeats
        if n >= min(self.n_composed, self.state.ring.capacity):
            return False
        return bool(same_beats(self.history(row, n)[0].numpy(), beat).all())

    def _is_too_quiet(self, row: int, beat: np.ndarray) -> bool:
        n = self.quiet.longest
        if n >= min(self.state.position, self.state.ring.capacity):
            return False
        return bool(self.quiet(np.concatenate([self.history(row, n)[0].numpy(), beat[None]])).all())

    def _looped(self) -> Tensor:
        """What stands one prompt back: at variation 0 it is played round."""
        ring = self.state.ring
        slot = (self.state.position - self.loop_lag) % ring.capacity
        return self.transformer.pattern.to_frames(ring.codes[:, : len(self.seeds), slot].transpose(0, 1))

    def _drawn(self, settings: Settings, attempts: Sequence[int]) -> Tensor:
        """Draws of this beat, as many as the batch has room for: (attempts · K, n_frames, n_codebooks)."""
        pattern = self.transformer.pattern
        draws = np.concatenate([self._draws(pattern.n_steps, attempt) for attempt in attempts])
        steps = np.zeros((self.batch, pattern.n_steps, self.transformer.n_codebooks), np.int64)
        self.speaker.begin(self.state)
        for step in range(pattern.n_steps):
            prediction = self.speaker.step(step, steps[:, step - 1] if step else None)
            first, last = self.speaker.spans[step]
            steps[:, step, first:last] = self._say(prediction, settings, draws[:, step, first:last], first)
        return pattern.to_frames(torch.from_numpy(steps))[: len(draws)]

    @torch.inference_mode()
    def hear(self, codes: Tensor) -> None:
        """Take a model beat as said, one for every take: int64 (K, n_frames, n_codebooks)."""
        rows = torch.cat([codes, codes[-1:].expand(self.batch - len(codes), *codes.shape[1:])])
        self.transformer.advance(self.state, rows, self._conditioning(self.state.position + 1))

    def _say(self, prediction: StepPrediction, settings: Settings, draws: np.ndarray, first: int) -> np.ndarray:
        """Choose the codes (B, n) of one step, of codebook `first` and those after it, by `draws` (≤ B, n); rows that
        only fill the batch repeat the last one's."""
        n = len(draws)
        said = say(prediction, n, settings, draws, settings.temperatures(self.transformer.n_codebooks)[first:])
        return said[np.minimum(np.arange(self.batch), n - 1)]

    def _draws(self, n_steps: int, attempt: int) -> np.ndarray:
        """Uniform numbers of this beat for every take: float32 (K, n_steps, n_codebooks)."""
        shape = (n_steps, self.transformer.n_codebooks)
        again = [attempt, 1] if attempt else []
        generators = [np.random.default_rng([*seed, self.n_composed, *again]) for seed in self.seeds]
        return np.stack([generator.random(shape, np.float32) for generator in generators])
