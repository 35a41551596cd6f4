"""What each stem plays next: units of the prompt drawn from the pointer, one half beat after another."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from melformer.errors import CheckpointError
from melformer.stems.units import UnitChoice, UnitPictures, to_db
from melformer.transformer.kv_cache import KVCache
from melformer.transformer.pointer import N_SHIFTS, ORDER, UNSHIFTED, Pointer, UnitMemory, relations, shift_relations

_KEPT = 8
"""Units before the last bar that are remembered: what came before is in the caches."""


@dataclass(frozen=True)
class PlanOptions:
    """What is asked of a bar: for each stem the share of its units that leave the loop, and that fall silent, 0 to 1;
    whether it plays the loop on (`keep`) or not at all (`mute`); how boldly choices are drawn."""

    variation: tuple[float, ...] = (0.4, 0.4, 0.4)
    silence: tuple[float, ...] = (0.0, 0.0, 0.0)
    keep: tuple[bool, ...] = (False, False, False)
    mute: tuple[bool, ...] = (False, False, False)
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.03


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


class Planner:
    """Continues a prompt's units. Every draw is a pure function of (seed, unit, stem)."""

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
        rounds = -(-_KEPT // self.n)  # a short loop has been heard several times
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

    @torch.inference_mode()
    def next_unit(self, options: PlanOptions) -> tuple[UnitChoice, ...]:
        """Choices of drums, bass and other for the next unit."""
        return self.advance(options, (None, None, None))[0]

    @torch.inference_mode()
    def advance(
        self, options: PlanOptions, given: Sequence[UnitChoice | None], avoided: Sequence[UnitChoice] | None = None,
        is_told: bool = True,
    ) -> tuple[tuple[UnitChoice, ...], float]:  # fmt: skip
        """The next unit: choices that are `given` are taken, the others drawn, and not what is `avoided`; and the nats
        of those not fixed. Where the pointer `is_told` nothing, variation and silence are left open."""
        state, t, nats = self.state, self.n_planned, 0.0
        query = self._step(options, is_told)
        history = torch.from_numpy(np.concatenate([state.sources, state.sources[-1:]])[None])
        here, here_shift = torch.full((1, 1, 3), -1), torch.full((1, 1, 3), UNSHIFTED)
        harmony = torch.zeros(1, 1, 12)
        chosen: dict[int, UnitChoice] = {}
        embedded: dict[int, Tensor] = {}
        for k in ORDER:
            fixed = self._fixed(k, t, options)
            choice = given[k] or fixed
            if fixed is None:
                logits = self._logits(k, t, query, history, here, here_shift, harmony)
                rng, other = np.random.default_rng([self.seed, t, k]), avoided[k] if avoided else None
                choice = choice or self._draw(k, logits, rng, options, other)
                nats -= float(logits.log_softmax(dim=0)[self._index(choice)])
            assert choice is not None
            chosen[k] = choice
            here[..., k], here_shift[..., k] = choice.source, choice.shift + UNSHIFTED
            own = self.silence[k] if choice.silent else self.memory.stems[0, choice.source, k]
            embedded[k] = own[None, None]
            query = query + self.pointer.chosen[k](embedded[k])
            if k and not choice.silent:
                pitch = (torch.arange(12) - choice.shift) % 12
                tones = self.memory.chroma[:, choice.source, k - 1][:, pitch][:, None]
                harmony = torch.nn.functional.normalize(harmony + tones, dim=-1)
        kept = int(self.bar) + _KEPT
        state.sources = np.concatenate([state.sources, here.numpy()[0]])[-kept:]
        state.shifts = np.concatenate([state.shifts, here_shift.numpy()[0]])[-kept:]
        state.last = self.pointer.to_unit(torch.cat([embedded[k] for k in range(3)], dim=-1))
        state.n_planned += 1
        return tuple(chosen[k] for k in range(3)), nats

    def _step(self, options: PlanOptions, is_told: bool) -> Tensor:
        """The stack's output after the last unit, with the condition: (1, 1, dim)."""
        state = self.state
        position = self.n + state.n_planned - 1
        unit = self.units[:, -1:] if state.last is None else state.last
        places = self.pointer.positions(self.first_place + position, 1, self.bar, self.tempo)
        condition = torch.tensor([[[*options.variation, *options.silence]]], dtype=torch.float32)
        after = self.pointer.after_cut(condition, torch.tensor([is_told]))
        hidden = self.pointer.stack.step(unit + places + after, position, state.caches)
        if state.keys is None:
            state.keys = self.pointer.with_keys(self.memory, torch.cat([self.hidden, hidden], dim=1)).keys
        self.memory.keys = state.keys
        return hidden

    def _onward(self, k: int) -> UnitChoice:
        """Silence, from which a stem that comes in again goes on."""
        state = self.state
        return UnitChoice(int((state.sources[-1, k] + 1) % self.n), int(state.shifts[-1, k] - UNSHIFTED), silent=True)

    def _fixed(self, k: int, t: int, options: PlanOptions) -> UnitChoice | None:
        """What a stem plays where there is nothing to choose."""
        if not self.present[k] or options.mute[k]:
            return self._onward(k)
        return UnitChoice(t % self.n) if options.keep[k] else None

    def _logits(
        self, k: int, t: int, query: Tensor, history: Tensor, here: Tensor, here_shift: Tensor, harmony: Tensor
    ) -> Tensor:
        """Of every source with every shift, and of silence: (n · N_SHIFTS + 1,)."""
        memory: UnitMemory = self.memory
        related = relations(k, memory, torch.tensor([t]), history, here)
        scores, special = self.pointer.source_scores(k, query, memory, related)
        logits = torch.full((self.n, N_SHIFTS), -torch.inf)
        if k:
            source, shift = (torch.from_numpy(v[-1:][None]) for v in (self.state.sources, self.state.shifts))
            moved = shift_relations(
                k, memory, torch.arange(self.n)[None, None], source, shift, here, here_shift, harmony, self.key
            )
            logits = scores[0, 0, :, None] + self.pointer.shift_scores(k, query, moved)[0, 0].log_softmax(dim=-1)
        else:
            logits[:, UNSHIFTED] = scores[0, 0]
        return torch.cat([logits.flatten(), special[0, 0, :1]])

    def _index(self, choice: UnitChoice) -> int:
        return self.n * N_SHIFTS if choice.silent else choice.source * N_SHIFTS + choice.shift + UNSHIFTED

    def _draw(
        self, k: int, logits: Tensor, rng: np.random.Generator, options: PlanOptions, avoided: UnitChoice | None
    ) -> UnitChoice:
        logits = logits.clone()
        if avoided is not None:
            logits[self._index(avoided)] = -torch.inf
        if not options.silence[k]:  # a rest can still be copied
            logits[-1] = -torch.inf
        index = _sample(logits, rng, options)
        if index == self.n * N_SHIFTS:
            return self._onward(k)
        return UnitChoice(index // N_SHIFTS, index % N_SHIFTS - UNSHIFTED)


def _sample(logits: Tensor, rng: np.random.Generator, options: PlanOptions) -> int:
    """Draw from logits at a temperature, without the tail that `min_p`, `top_k` and `top_p` leave out.

    Errors: CheckpointError for NaN, which finite but huge weights come to.
    """
    if not bool((logits < torch.inf).all()):
        raise CheckpointError(
            "The checkpoint's weights come to numbers that are none: it is damaged, or its training went astray. "
            "Use another one."
        )
    if options.temperature <= 0.0:
        return int(logits.argmax())
    own = torch.softmax(logits.double(), dim=0).numpy()
    shares = torch.softmax(logits.double() / options.temperature, dim=0).numpy()
    shares[own < options.min_p * own.max()] = 0.0
    if options.top_k or options.top_p < 1.0:
        order = np.argsort(-own, kind="stable")
        earlier = np.cumsum(own[order]) - own[order]
        out = earlier >= options.top_p
        if options.top_k:
            out[options.top_k :] = True
        shares[order[out]] = 0.0
    return int(np.searchsorted(np.cumsum(shares / shares.sum()), rng.random(), side="right").clip(0, len(shares) - 1))
