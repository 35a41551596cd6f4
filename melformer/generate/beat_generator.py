"""The transformer at work: one model beat of codes after another, for one or several takes at once."""

from collections.abc import Sequence
from copy import copy

import numpy as np
import torch
from torch import Tensor

from melformer.generate.code_features import CodeFeatures
from melformer.generate.constraints import NoveltyLimit, SilenceLimit, longest_run, same_beats
from melformer.generate.prompt import Prompt
from melformer.generate.sampling import GenerationConfig, sample_step
from melformer.runtime.torch_step_decoder import AnyStepDecoder, step_decoder
from melformer.transformer.model import UNKNOWN_BAR_POSITION, BeatTransformer, Conditioning, TransformerState

MIN_BATCH = 4
"""Takes are computed in fours: fewer rows, and what is left over, can go through other matrix kernels, which round
differently, and a seed must give the same take alone and among many."""

LEAST_HEARD = 8
"""Model beats that the transformer hears before it composes: a shorter loop is heard several times over, as it would be
played. Heard once, a bar or two say too little of what may follow (docs/decisions/)."""
MOST_REPEATS = 6
"""How often a beat may follow itself, where the prompt does not repeat one more often."""
MOST_DRAWS, LEAST_AT_ONCE = 4, 2
"""How often a beat is drawn, if what came out may not be; and at least how often at once, since weights are read once
for all the draws. A take that is alone has all of them at once."""


def context_codes(prompt: Prompt) -> np.ndarray:
    """What the transformer hears of a prompt, whole rounds of it: int64 (model beats, frames, n_codebooks)."""
    codes = prompt.codes
    rounds = -(-LEAST_HEARD // len(codes)) if prompt.n_model_beats == len(codes) else 1  # half a beat is no round
    return np.tile(codes, (rounds, 1, 1))


class BeatGenerator:
    """Continues a prompt's codes; `seeds` (K,) are the takes. Every draft is a pure function of (seed, beat, draw)."""

    def __init__(
        self, transformer: BeatTransformer, prompt: Prompt, seeds: list[int], code_features: CodeFeatures,
        state: TransformerState | None = None,
    ) -> None:  # fmt: skip
        """`state` of one sequence: where all takes go on; None: after the prompt."""
        self.transformer = transformer
        self.seeds: list[tuple[int, ...]] = [(seed,) for seed in seeds]
        self.bar = max(1, round(prompt.beats_per_bar * prompt.model_beats_per_beat))
        self.tempo = float(np.log2(prompt.model_bpm / 120.0))
        self.batch = _batch(len(seeds))
        heard = context_codes(prompt)
        self.n_prompt = len(heard)
        self.prompt_codes = torch.from_numpy(heard)
        self.most_repeats = max(MOST_REPEATS, longest_run(prompt.codes))
        self.novelty = NoveltyLimit(code_features, prompt.codes, self.bar)
        self.silence = SilenceLimit(prompt, code_features, transformer.codebook_size)
        remembered = transformer.config.context_beats
        self.loop_lag = min(self.n_prompt, max(1, remembered // self.bar * self.bar))  # of a long loop the last bars
        one = self._read(heard) if state is None else state
        self.state = one.rows(torch.zeros(self.batch, dtype=torch.int64))
        self.step_decoders: dict[int, AnyStepDecoder] = {}

    @torch.inference_mode()
    def _read(self, codes: np.ndarray) -> TransformerState:
        """Let the transformer hear the prompt: one sequence."""
        device = self.transformer.device
        positions = torch.tensor([[self.bar_position(i) for i in range(len(codes) + 1)]], device=device)
        heard = Conditioning(torch.tensor([self.tempo], device=device), positions)
        return self.transformer.prefill(torch.from_numpy(codes)[None].to(device), heard)

    def bar_position(self, position: int) -> int:
        """Where in its bar model beat `position` lies (0 is the prompt's first): the prompt ends on a bar line, as
        loops do."""
        return (position - self.n_prompt) % self.bar if self.bar <= UNKNOWN_BAR_POSITION else UNKNOWN_BAR_POSITION

    def _conditioning(self, position: int) -> Conditioning:
        device = self.transformer.device
        bar_positions = torch.full((self.batch, 1), self.bar_position(position), device=device)
        return Conditioning(torch.full((self.batch,), self.tempo, device=device), bar_positions)

    @property
    def n_composed(self) -> int:
        """Model beats composed so far."""
        return self.state.position - self.n_prompt

    def history(self, rows: int | list[int], most: int) -> tuple[Tensor, int]:
        """The last beats of one take or some, prompt included, at most `most` and those that are remembered: int64
        (N, n_frames, n_codebooks), for some (K, N, n_frames, n_codebooks), and the position of the first."""
        ring, end = self.state.ring, self.state.position
        n = min(most, end, ring.capacity)
        steps = ring.codes[:, rows][..., torch.arange(end - n, end) % ring.capacity, :].movedim(0, -2)
        return self.transformer.pattern.to_frames(steps).cpu(), end - n

    def fork(self, row: int, n: int) -> "BeatGenerator":
        """`n` takes that share the past of take `row`; the first goes on as that take would."""
        other = copy(self)
        other.seeds = [self.seeds[row]] + [(*self.seeds[row], i) for i in range(1, n)]
        other.batch, other.step_decoders = _batch(n), {}
        other.state = self.state.rows(torch.full((other.batch,), row))
        return other

    @torch.inference_mode()
    def decode_beat(self, settings: GenerationConfig) -> Tensor:
        """The next model beat of every take: int64 (K, n_frames, n_codebooks)."""
        codes = self._looped() if settings.variation == 0.0 else self._fitting(settings)
        self.append(codes)
        return codes

    def _fitting(self, settings: GenerationConfig) -> Tensor:
        """Takes whose beat does not fit draw another one; after `MOST_DRAWS` they go back to the prompt, at the same
        place in the bar."""
        again = self.prompt_codes[self.n_composed % self.n_prompt]
        codes, waiting, n_drawn = again.repeat(len(self.seeds), 1, 1), list(range(len(self.seeds))), 0
        while waiting and n_drawn < MOST_DRAWS:
            at_once = min(MOST_DRAWS - n_drawn, max(LEAST_AT_ONCE, MIN_BATCH // len(waiting)))
            drafts = self._drawn(settings, waiting, range(n_drawn, n_drawn + at_once))
            fits = self._fits(waiting, drafts, settings)
            found, first = fits.any(axis=0), fits.argmax(axis=0)
            for i in np.flatnonzero(found):
                codes[waiting[i]] = drafts[first[i], i]
            waiting, n_drawn = [waiting[i] for i in np.flatnonzero(~found)], n_drawn + at_once
        return codes

    def _fits(self, rows: list[int], drafts: Tensor, settings: GenerationConfig) -> np.ndarray:
        """Whether drafts (A, K, n_frames, n_codebooks) may follow in some takes: bool (A, K).

        One that would be repeated, or be quiet, more often in a row than the prompt ever does, or take on a colour, a
        harmony or a level that it has not, may not.
        """
        limits = [n for n in (self.most_repeats, self.silence.longest) if n < self.state.ring.capacity]
        before, _ = self.history(rows, max(self.novelty.n_heard - 1, *limits, 0))
        fits = self.novelty(before, drafts) <= settings.novelty
        for draft, i in np.argwhere(fits):
            past, beat = before[i].numpy(), drafts[draft, i].numpy()
            fits[draft, i] = not self._is_stuck(past, beat) and not self._is_too_quiet(past, beat)
        return fits

    def _is_stuck(self, past: np.ndarray, beat: np.ndarray) -> bool:
        n = self.most_repeats
        if n >= min(self.n_composed, self.state.ring.capacity):
            return False
        return bool(same_beats(past[len(past) - n :], beat).all())

    def _is_too_quiet(self, past: np.ndarray, beat: np.ndarray) -> bool:
        n = self.silence.longest
        if n >= min(self.state.position, self.state.ring.capacity):
            return False
        return bool(self.silence(np.concatenate([past[len(past) - n :], beat[None]])).all())

    def _looped(self) -> Tensor:
        """What stands one prompt back: at variation 0 it is played round."""
        ring = self.state.ring
        slot = (self.state.position - self.loop_lag) % ring.capacity
        return self.transformer.pattern.to_frames(ring.codes[:, : len(self.seeds), slot].transpose(0, 1)).cpu()

    def _drawn(self, settings: GenerationConfig, rows: list[int], attempts: Sequence[int]) -> Tensor:
        """Drafts of this beat for some takes: int64 (attempts, K, n_frames, n_codebooks)."""
        pattern, n_drafts = self.transformer.pattern, len(attempts) * len(rows)
        draws = np.concatenate([self._draws(rows, pattern.n_steps, attempt) for attempt in attempts])
        state, batch = self.state, _batch(n_drafts)
        takes = np.resize(rows, batch)
        if batch % self.batch or (takes != np.arange(batch) % self.batch % len(self.seeds)).any():
            state = state.rows(torch.from_numpy(takes))
        if batch not in self.step_decoders:
            self.step_decoders[batch] = step_decoder(self.transformer, batch)
        decoder = self.step_decoders[batch]
        steps = np.zeros((batch, pattern.n_steps, self.transformer.n_codebooks), np.int64)
        decoder.begin(state)
        for step in range(pattern.n_steps):
            prediction = decoder.step(step, steps[:, step - 1] if step else None)
            first, last = decoder.spans[step]
            said = sample_step(prediction, n_drafts, settings, draws[:, step, first:last])
            steps[:, step, first:last] = said[np.arange(batch) % n_drafts]
        drafts = pattern.to_frames(torch.from_numpy(steps[:n_drafts]))
        return drafts.unflatten(0, (len(attempts), len(rows)))

    @torch.inference_mode()
    def append(self, codes: Tensor) -> None:
        """Take a model beat as said, one for every take: int64 (K, n_frames, n_codebooks)."""
        rows = codes[torch.arange(self.batch) % len(codes)].to(self.transformer.device)
        self.transformer.append(self.state, rows, self._conditioning(self.state.position + 1))

    def _draws(self, rows: list[int], n_steps: int, attempt: int) -> np.ndarray:
        """Uniform numbers of this beat for some takes: float32 (K, n_steps, n_codebooks)."""
        shape = (n_steps, self.transformer.n_codebooks)
        again = [attempt, 1] if attempt else []
        generators = [np.random.default_rng([*self.seeds[row], self.n_composed, *again]) for row in rows]
        return np.stack([generator.random(shape, np.float32) for generator in generators])


def _batch(n: int) -> int:
    """Rows that are computed for `n`."""
    return -(-n // MIN_BATCH) * MIN_BATCH
