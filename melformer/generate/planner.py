"""What each stem plays next: units of the prompt drawn from the pointer, one half beat after another."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from melformer.stems.units import UnitChoice, UnitPictures, to_db
from melformer.transformer.pointer import N_SHIFTS, ORDER, UNSHIFTED, Pointer, relations, shift_relations


@dataclass(frozen=True)
class PlanOptions:
    """What is asked of a bar: for each stem the share of its units that leave the loop, and that fall silent, 0 to 1;
    whether it plays the loop on (`keep`) or not at all (`mute`); how boldly choices are drawn."""

    variation: tuple[float, float, float] = (0.4, 0.4, 0.4)
    silence: tuple[float, float, float] = (0.0, 0.0, 0.0)
    keep: tuple[bool, bool, bool] = (False, False, False)
    mute: tuple[bool, bool, bool] = (False, False, False)
    temperature: float = 1.0
    min_p: float = 0.03


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
        self.caches = pointer.stack.empty_caches(1)
        self.units = pointer.to_unit(self.memory.stems.flatten(2))
        places = pointer.positions(self.first_place, self.n, self.bar, self.tempo)
        self.hidden = pointer.stack((self.units + places)[:, : self.n - 1], self.caches)
        self.silence = pointer.silence()
        self.sources = np.repeat(np.arange(self.n)[:, None], 3, axis=1)  # of all units, the prompt's included
        self.shifts = np.full((self.n, 3), UNSHIFTED)
        self.last: Tensor | None = None

    @property
    def n_planned(self) -> int:
        """Units planned so far."""
        return len(self.sources) - self.n

    @torch.inference_mode()
    def next_unit(self, options: PlanOptions) -> tuple[UnitChoice, ...]:
        """Choices of drums, bass and other for the next unit."""
        t = self.n_planned
        query = self._step(options)
        history = torch.from_numpy(np.concatenate([self.sources, self.sources[-1:]])[None])
        here, here_shift = torch.full((1, 1, 3), -1), torch.full((1, 1, 3), UNSHIFTED)
        harmony = torch.zeros(1, 1, 12)
        chosen: dict[int, UnitChoice] = {}
        embedded: dict[int, Tensor] = {}
        for k in ORDER:
            chosen[k] = self._choose(k, t, query, history, here, here_shift, harmony, options)
            here[..., k], here_shift[..., k] = chosen[k].source, chosen[k].shift + UNSHIFTED
            own = self.silence[k] if chosen[k].silent else self.memory.stems[0, chosen[k].source, k]
            embedded[k] = own[None, None]
            query = query + self.pointer.chosen[k](embedded[k])
            if k and not chosen[k].silent:
                pitch = (torch.arange(12) - chosen[k].shift) % 12
                tones = self.memory.chroma[:, chosen[k].source, k - 1][:, pitch][:, None]
                harmony = torch.nn.functional.normalize(harmony + tones, dim=-1)
        self.sources = np.concatenate([self.sources, here.numpy()[0]])
        self.shifts = np.concatenate([self.shifts, here_shift.numpy()[0]])
        self.last = self.pointer.to_unit(torch.cat([embedded[k] for k in range(3)], dim=-1))
        return tuple(chosen[k] for k in range(3))

    def _step(self, options: PlanOptions) -> Tensor:
        """The stack's output after the last unit, with the condition: (1, 1, dim)."""
        position = len(self.sources) - 1
        unit = self.units[:, -1:] if self.last is None else self.last
        places = self.pointer.positions(self.first_place + position, 1, self.bar, self.tempo)
        condition = torch.tensor([[[*options.variation, *options.silence]]], dtype=torch.float32)
        after = self.pointer.after_cut(condition, torch.tensor([True]))
        hidden = self.pointer.stack.step(unit + places + after, position, self.caches)
        if self.last is None:
            self.memory = self.pointer.with_keys(self.memory, torch.cat([self.hidden, hidden], dim=1))
        return hidden

    def _choose(
        self, k: int, t: int, query: Tensor, history: Tensor, here: Tensor, here_shift: Tensor, harmony: Tensor,
        options: PlanOptions,
    ) -> UnitChoice:  # fmt: skip
        onward = UnitChoice(int((self.sources[-1, k] + 1) % self.n), int(self.shifts[-1, k] - UNSHIFTED), silent=True)
        if not self.present[k] or options.mute[k]:
            return onward
        if options.keep[k]:
            return UnitChoice(t % self.n)
        related = relations(k, self.memory, torch.tensor([t]), history, here)
        scores, special = self.pointer.source_scores(k, query, self.memory, related)
        logits = torch.full((self.n, N_SHIFTS), -torch.inf)
        if k:
            source, shift = (torch.from_numpy(v[-1:][None]) for v in (self.sources, self.shifts))
            moved = shift_relations(
                k, self.memory, torch.arange(self.n)[None, None], source, shift, here, here_shift, harmony, self.key
            )
            logits = scores[0, 0, :, None] + self.pointer.shift_scores(k, query, moved)[0, 0].log_softmax(dim=-1)
        else:
            logits[:, UNSHIFTED] = scores[0, 0]
        silence = special[0, 0, :1] if options.silence[k] else torch.full((1,), -torch.inf)  # a rest can be copied
        flat = torch.cat([logits.flatten(), silence])
        index = self._draw(flat, np.random.default_rng([self.seed, t, k]), options)
        if index == self.n * N_SHIFTS:
            return onward
        return UnitChoice(index // N_SHIFTS, index % N_SHIFTS - UNSHIFTED)

    def _draw(self, logits: Tensor, rng: np.random.Generator, options: PlanOptions) -> int:
        if options.temperature <= 0.0:
            return int(logits.argmax())
        shares = torch.softmax(logits.double() / options.temperature, dim=0).numpy()
        shares[shares < options.min_p * shares.max()] = 0.0
        return int(
            np.searchsorted(np.cumsum(shares / shares.sum()), rng.random(), side="right").clip(0, len(shares) - 1)
        )
