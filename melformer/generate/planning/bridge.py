"""Units between what stands before and after them: a last bar that leads back, a part that is composed anew."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from melformer.generate.planning.joint_planning import advance_together
from melformer.generate.planning.plan_options import Choices, Given, PlanOptions
from melformer.generate.planning.planner import Planner
from melformer.stems.units import UnitChoice

N_CANDIDATES = 8


@dataclass(frozen=True)
class Bridge:
    """The chosen units; the nats that a unit of what follows costs after each candidate, whatever was asked (C,); and
    `surprise`, what it costs under the condition that it meets itself over what a unit of ordinary bars costs under
    theirs: about 1 where the seam passes unnoticed."""

    choices: list[Choices]
    seam_nats: np.ndarray
    surprise: float


def best_bridge(
    planner: Planner, options_of: Callable[[int], PlanOptions], wanted: Sequence[Given],
    after: Sequence[Choices], line_nats: Sequence[float] = (), unlike: Sequence[Choices] = (),
) -> Bridge:  # fmt: skip
    """Units from where `planner` stands, chosen among candidates by how likely they make what comes `after`.

    `wanted` says for each unit and stem what is given (None: drawn). Candidate 0 is what the planner would have drawn
    anyway, the others are drawn with other seeds, and with what `options_of` a seed asks for; every other begins unlike
    `unlike`, and one that equals it is the last to be chosen. `line_nats` are the nats of ordinary bars of the piece.
    """
    seeds = [planner.seed ^ (number << 40) for number in range(N_CANDIDATES)]
    forks, options = [planner.fork(seed) for seed in seeds], [options_of(seed) for seed in seeds]
    candidates: list[list[Choices]] = [[] for _ in seeds]
    for i, given in enumerate(wanted):
        begin_otherwise = [unlike[i] if number % 2 > i and unlike else None for number in range(N_CANDIDATES)]
        for candidate, made in zip(
            candidates, advance_together(forks, options, [given] * N_CANDIDATES, begin_otherwise)
        ):
            candidate.append(made[0])
    seam = _costs(forks, after, PlanOptions(), is_told=False)
    rank = seam + np.array([1e6 * (candidate == list(unlike)) for candidate in candidates])
    best = int(rank.argmin())
    met = float(_costs(forks[best : best + 1], after, condition_of(after, forks[best].n_planned, planner.n), True)[0])
    usual = float(np.mean(line_nats)) / max(1, len(after)) if len(line_nats) else met
    return Bridge(candidates[best], seam, met / max(usual, 1e-9))


def _costs(planners: Sequence[Planner], units: Sequence[Choices], options: PlanOptions, is_told: bool) -> np.ndarray:
    """Nats of a unit that comes next, the mean, for each planner (n,); planners stay where they are."""
    forks, total = [planner.fork(planner.seed) for planner in planners], np.zeros(len(planners))
    for unit in units:
        made = advance_together(forks, [options] * len(forks), [unit] * len(forks), is_told=is_told)
        total += [nats for _, nats in made]
    return total / max(1, len(units))


def condition_of(units: Sequence[Choices], first: int, n_prompt: int) -> PlanOptions:
    """What was asked of units, from number `first` on after a prompt of `n_prompt`, if they did as they were asked."""
    left, silent = np.zeros(3), np.zeros(3)
    for i, unit in enumerate(units):
        place = UnitChoice((first + i) % n_prompt)
        left += [choice != place for choice in unit]
        silent += [choice.silent for choice in unit]
    n = max(1, len(units))
    return PlanOptions(tuple((left / n).tolist()), tuple((silent / n).tolist()))
