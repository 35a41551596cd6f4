"""Where a continuation stands, and what may come next: units of the prompt, drawn from the pointer's scores."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from melformer.generate.planning.choice_costs import MEMORY_BARS, choice_costs
from melformer.generate.planning.plan_options import Choices, PlanOptions, rng_of, sample
from melformer.stems.units import UnitChoice, UnitPictures, to_db
from melformer.transformer.kv_cache import KVCache
from melformer.transformer.pointer import DRUMS, N_SHIFTS, ORDER, UNSHIFTED, Pointer

_CONTEXT = 8
"""Units before the last bar that scores compare; what came before is in the caches."""


@dataclass
class PlannerState:
    """What changes from unit to unit: how many were planned, the sources and shifts int64 (n, 3) of the last of all
    units, the prompt's included, the pointer's memory of them, and its view of the last (None before the first)."""

    n_planned: int
    sources: np.ndarray
    shifts: np.ndarray
    caches: list[KVCache]
    last: Tensor | None = None
    keys: Tensor | None = None
    half_keys: Tensor | None = None


class Planner:
    """Continues a prompt's units. Every draw is a pure function of (seed, unit, stem, the stem's number of draws)."""

    @torch.inference_mode()
    def __init__(
        self, pointer: Pointer, pictures: UnitPictures, bpm: float, bar: int, present: tuple[bool, ...], seed: int
    ) -> None:
        """`bpm` is the model's tempo, `bar` the units in a bar, `present` which stems the prompt has."""
        self.pointer, self.seed, self.present = pointer, seed, present
        self.n = len(pictures)
        n, self.bar = torch.tensor([self.n]), torch.tensor([bar])
        mel, chroma = torch.from_numpy(to_db(pictures.mel)), torch.from_numpy(pictures.chroma)
        self.memory = pointer.memory(mel[None], chroma[None], n, self.bar)
        self.tempo = torch.tensor([np.log2(bpm / 120.0)], dtype=torch.float32)
        self.first_place = -self.n % bar  # the prompt ends on a bar line, as loops do
        self.key = torch.nn.functional.normalize(self.memory.chroma.sum(dim=(1, 2)), dim=-1)
        caches = pointer.stack.empty_caches(1)
        self.units = pointer.to_unit(self.memory.stems.flatten(2))
        places = pointer.positions(self.first_place, self.n, self.bar, self.tempo)
        self.hidden = pointer.stack((self.units + places)[:, : self.n - 1], caches)
        self.silence = pointer.silence()
        self.n_remembered = max(MEMORY_BARS * bar, bar + _CONTEXT)
        rounds = -(-self.n_remembered // self.n)  # a short loop has been heard several times
        sources = np.repeat(np.tile(np.arange(self.n), rounds)[:, None], 3, axis=1)
        self.state = PlannerState(0, sources, np.full(sources.shape, UNSHIFTED), caches)

    @property
    def n_planned(self) -> int:
        """Units planned so far."""
        return self.state.n_planned

    def fork(self, seed: int) -> "Planner":
        """A planner that goes on from here by itself, with draws of another seed."""
        other = copy.copy(self)
        other.seed, other.memory, other.state = seed, copy.copy(self.memory), copy.copy(self.state)
        other.state.caches = [KVCache(cache.keys.clone(), cache.values.clone()) for cache in self.state.caches]
        return other

    def fixed(self, k: int, options: PlanOptions) -> UnitChoice | None:
        """What a stem plays in the next unit where there is nothing to choose."""
        if not self.present[k] or options.mute[k]:
            return self._onward(k)
        return UnitChoice(self.n_planned % self.n) if options.keep[k] else None

    def draw(self, k: int, logits: Tensor, options: PlanOptions, avoided: UnitChoice | None) -> UnitChoice:
        """A choice of stem `k` from the logits of every source with every shift, and of silence."""
        past, is_to_leave = (self.state.sources[:, k], self.state.shifts[:, k]), options.variation[k] > 0.5
        logits = logits - choice_costs(*past, self.n_planned, self.n, int(self.bar), is_to_leave)
        if avoided is not None:
            logits[self.index_of(avoided)] = -torch.inf
        if not options.silence[k]:  # a rest can still be copied
            logits[-1] = -torch.inf
        index = sample(logits, rng_of(options.draws[k], self.seed, self.n_planned, k), options)
        if index == self.n * N_SHIFTS:
            return self._onward(k)
        return UnitChoice(index // N_SHIFTS, index % N_SHIFTS - UNSHIFTED)

    def draw_second(self, onward: int, scores: Tensor, options: PlanOptions) -> int | None:
        """The half unit that drums go on with in the middle of the next unit, from the scores of all; None where that
        is the one that runs `onward`."""
        shares, rng = scores.softmax(dim=0), rng_of(options.draws[DRUMS], self.seed, self.n_planned, len(ORDER))
        if options.temperature <= 0.0:
            index = int(scores.argmax())
            return None if index == onward else index
        if rng.random() < float(shares[onward]):
            return None
        scores = scores.clone()
        scores[onward] = -torch.inf
        return sample(scores, rng, options)

    def index_of(self, choice: UnitChoice) -> int:
        """Where a choice stands among the logits."""
        return self.n * N_SHIFTS if choice.silent else choice.source * N_SHIFTS + choice.shift + UNSHIFTED

    def remember(self, choices: Choices, unit: Tensor) -> None:
        """Go on behind what was chosen for the next unit, embedded as `unit` (1, 1, dim)."""
        state, kept = self.state, self.n_remembered
        chosen = np.array([[[choice.source, choice.shift + UNSHIFTED] for choice in choices]])
        state.sources = np.concatenate([state.sources, chosen[..., 0]])[-kept:]
        state.shifts = np.concatenate([state.shifts, chosen[..., 1]])[-kept:]
        state.last = unit
        state.n_planned += 1

    def _onward(self, k: int) -> UnitChoice:
        """Silence, from which a stem that comes in again goes on."""
        state = self.state
        return UnitChoice(int((state.sources[-1, k] + 1) % self.n), int(state.shifts[-1, k] - UNSHIFTED), silent=True)
