"""Several planners a unit further, in one pass of the pointer."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from melformer.generate.planning.consonance import consonance
from melformer.generate.planning.plan_options import Choices, Given, PlanOptions
from melformer.generate.planning.planner import Planner
from melformer.stems.units import UnitChoice
from melformer.transformer.kv_cache import join_caches
from melformer.transformer.pointer import BASS, DRUMS, N_SHIFTS, ORDER, UNSHIFTED
from melformer.transformer.pointer_relations import compare_contexts, half_relations, relations, shift_relations

BATCH = 4
"""Takes that are planned at once. Matrix products round differently with the number of their rows, so it is always this
many, made up with copies: a take is the same alone and among others."""


def advance_together(
    planners: Sequence[Planner], options: Sequence[PlanOptions], given: Sequence[Given],
    avoided: Sequence[Choices | None] | None = None, is_told: bool = True,
) -> list[tuple[Choices, float]]:  # fmt: skip
    """The next unit of planners of one prompt that stand at the same unit: for each its choices, and the nats of those
    that were not fixed.

    Choices that are `given` are taken, the others drawn, and not what is `avoided`. Where the pointer `is_told`
    nothing, variation and silence are left open.
    """
    avoided = avoided or [None] * len(planners)
    made: list[tuple[Choices, float]] = []
    for first in range(0, len(planners), BATCH):
        part = slice(first, first + BATCH)
        made += _advance(planners[part], options[part], given[part], avoided[part], is_told)
    return made


@torch.inference_mode()
def _advance(
    planners: Sequence[Planner], options: Sequence[PlanOptions], given: Sequence[Given],
    avoided: Sequence[Choices | None], is_told: bool,
) -> list[tuple[Choices, float]]:  # fmt: skip
    step = _Step(planners, options, is_told)
    step.expect_bass([_bass_beforehand(*each) for each in zip(planners, options, given)])
    nats = [0.0] * len(planners)
    chosen: list[dict[int, UnitChoice]] = [{} for _ in planners]
    for k in ORDER:
        fixed = [planner.fixed(k, asked) for planner, asked in zip(planners, options)]
        logits = None if all(fixed) else step.logits(k)
        for i, planner in enumerate(planners):
            choice = given[i][k] or fixed[i]
            if logits is not None and not fixed[i]:
                unlike = avoided[i]
                choice = choice or planner.draw(k, logits[i], options[i], unlike[k] if unlike else None)
                nats[i] -= float(logits[i].log_softmax(dim=0)[planner.index_of(choice)])
            assert choice is not None
            chosen[i][k] = choice
        step.choose(k, [one[k] for one in chosen])
    _cut_drums(step, planners, options, given, chosen, nats)
    units = step.unit()
    choices = [tuple(one[k] for k in range(3)) for one in chosen]
    for i, planner in enumerate(planners):
        planner.remember(choices[i], units[i : i + 1])
    return list(zip(choices, nats))


def _bass_beforehand(planner: Planner, options: PlanOptions, given: Given) -> UnitChoice | None:
    """The bass that chords go with, though they are chosen first: one that is settled, or stays with the loop."""
    settled = given[BASS] or planner.fixed(BASS, options)
    if settled is None and not options.variation[BASS]:
        return UnitChoice(planner.n_planned % planner.n)
    return settled


def _cut_drums(
    step: "_Step", planners: Sequence[Planner], options: Sequence[PlanOptions], given: Sequence[Given],
    chosen: Sequence[dict[int, UnitChoice]], nats: list[float],
) -> None:  # fmt: skip
    """Draw what the second halves of drums are where they are not given, and add the nats of all."""
    open_ = [
        planner.fixed(DRUMS, asked) is None and not one[DRUMS].silent
        for planner, asked, one in zip(planners, options, chosen)
    ]
    if not any(open_):
        return
    scores = step.half_scores()
    for i, planner in enumerate(planners):
        if not open_[i]:
            continue
        choice, onward = chosen[i][DRUMS], 2 * chosen[i][DRUMS].source + 1
        if given[i][DRUMS] is None:
            choice = chosen[i][DRUMS] = replace(choice, second=planner.draw_second(onward, scores[i], options[i]))
        nats[i] -= float(scores[i].log_softmax(dim=0)[choice.halves[1]])


class _Step:
    """The pointer at one unit of `BATCH` planners: scores of what a stem may play, given what others were chosen to."""

    def __init__(self, planners: Sequence[Planner], options: Sequence[PlanOptions], is_told: bool) -> None:
        first, n_copies = planners[0], BATCH - len(planners)
        rows, asked = [*planners, *[first] * n_copies], [*options, *[options[0]] * n_copies]
        self.pointer, self.key, self.silence, self.n, self.t = (
            first.pointer, first.key, first.silence, first.n, first.n_planned,
        )  # fmt: skip
        self.query = self._run(rows, asked, is_told)
        self.memory = first.memory.repeated(BATCH)
        self.memory.keys = torch.cat([row.state.keys for row in rows if row.state.keys is not None])
        self.memory.half_keys = torch.cat([row.state.half_keys for row in rows if row.state.half_keys is not None])
        sources = np.stack([row.state.sources for row in rows])
        self.sources = torch.from_numpy(np.concatenate([sources, sources[:, -1:]], axis=1))
        self.shifts = torch.from_numpy(np.stack([row.state.shifts[-1:] for row in rows]))
        self.contexts = compare_contexts(self.memory, self.sources, 1)
        self.here, self.here_shift = torch.full((BATCH, 1, 3), -1), torch.full((BATCH, 1, 3), UNSHIFTED)
        self.harmony, self.bass = torch.zeros(BATCH, 1, 12), torch.zeros(BATCH, 12)
        self.embedded = self.silence.expand(BATCH, 1, -1, -1).clone()

    def _run(self, rows: Sequence[Planner], options: Sequence[PlanOptions], is_told: bool) -> Tensor:
        """The stack's outputs after the last unit, with the condition: (BATCH, 1, dim)."""
        first = rows[0]
        position = first.n + self.t - 1
        units = torch.cat([first.units[:, -1:] if row.state.last is None else row.state.last for row in rows])
        places = self.pointer.positions(first.first_place + position, 1, first.bar, first.tempo)
        condition = torch.tensor([[[*asked.variation, *asked.silence]] for asked in options], dtype=torch.float32)
        after = self.pointer.after_cut(condition, torch.tensor([is_told]))
        caches = [join_caches(layer) for layer in zip(*[row.state.caches for row in rows])]
        hidden = self.pointer.stack.step(units + places + after, position, caches)
        for i, row in enumerate(rows):
            for own, joint in zip(row.state.caches, caches):
                own.copy_step(joint, i, position)
            if row.state.keys is None:
                read = self.pointer.with_keys(first.memory, torch.cat([first.hidden, hidden[i : i + 1]], dim=1))
                row.state.keys, row.state.half_keys = read.keys, read.half_keys
        return hidden

    def logits(self, k: int) -> Tensor:
        """Of every source with every shift, and of silence: (BATCH, n · N_SHIFTS + 1)."""
        related = relations(k, self.memory, self.contexts, torch.tensor([self.t]), self.sources, self.here)
        scores, special = self.pointer.source_scores(k, self.query, self.memory, related)
        logits = torch.full((BATCH, self.n, N_SHIFTS), -torch.inf)
        if k:
            moved = shift_relations(
                k, self.memory, torch.arange(self.n).expand(BATCH, 1, -1), self.sources[:, -1:], self.shifts, self.here,
                self.here_shift, self.harmony, self.key,
            )  # fmt: skip
            logits = scores[:, 0, :, None] + self.pointer.shift_scores(k, self.query, moved)[:, 0].log_softmax(dim=-1)
            other = self.harmony[:, 0] if k == BASS else self.bass
            logits = logits + consonance(self.memory.chroma[:, : self.n, k - 1], other, k == BASS)
        else:
            logits[:, :, UNSHIFTED] = scores[:, 0]
        return torch.cat([logits.flatten(1), special[:, 0, :1]], dim=1)

    def half_scores(self) -> Tensor:
        """Of every half unit, as the second half of drums after what was chosen: (BATCH, 2n)."""
        related = half_relations(self.memory, torch.tensor([self.t]), self.here[..., DRUMS].clamp(min=0))
        return self.pointer.half_scores(self.query, self.memory, related)[:, 0]

    def expect_bass(self, choices: Sequence[UnitChoice | None]) -> None:
        """What the bass of the first rows will play, where that is known."""
        for i, choice in enumerate(choices):
            if choice is not None and not choice.silent:
                self.bass[i] = self._tones(i, BASS, choice)

    def choose(self, k: int, choices: Sequence[UnitChoice]) -> None:
        """What stem `k` of the first rows plays; stems that follow hear it."""
        for i, choice in enumerate(choices):
            self.here[i, 0, k], self.here_shift[i, 0, k] = choice.source, choice.shift + UNSHIFTED
            if choice.silent:
                continue
            self.embedded[i, 0, k] = self.memory.stems[i, choice.source, k]
            if k:
                together = self.harmony[i, 0] + self._tones(i, k, choice)
                self.harmony[i, 0] = torch.nn.functional.normalize(together, dim=-1)
        self.query = self.query + self.pointer.chosen[k](self.embedded[:, :, k])

    def _tones(self, i: int, k: int, choice: UnitChoice) -> Tensor:
        """Pitch classes of what bass or other plays: (12,)."""
        return self.memory.chroma[i, choice.source, k - 1].roll(choice.shift)

    def unit(self) -> Tensor:
        """What was chosen, embedded: (BATCH, 1, dim)."""
        return self.pointer.to_unit(self.embedded.flatten(2))
