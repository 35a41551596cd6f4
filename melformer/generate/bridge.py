"""Units between what stands before and after them: a last bar that leads back, a part that is composed anew."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from melformer.generate.planner import Planner, PlanOptions
from melformer.stems.units import UnitChoice

N_CANDIDATES = 8
Choices = tuple[UnitChoice, ...]


@dataclass(frozen=True)
class Bridge:
    """The chosen units; the nats that a unit of what follows costs after each candidate, whatever was asked (C,); and
    `surprise`, what it costs under the condition that it meets itself over what a unit of ordinary bars costs under
    theirs: about 1 where the seam passes unnoticed."""

    choices: list[Choices]
    seam_nats: np.ndarray
    surprise: float


def best_bridge(
    planner: Planner, options_of: Callable[[int], PlanOptions], wanted: Sequence[tuple[UnitChoice | None, ...]],
    after: Sequence[Choices], line_nats: Sequence[float] = (), unlike: Sequence[Choices] = (),
) -> Bridge:  # fmt: skip
    """Units from where `planner` stands, chosen among candidates by how likely they make what comes `after`.

    `wanted` says for each unit and stem what is given (None: drawn). Candidate 0 is what the planner would have drawn
    anyway, the others are drawn with other seeds, and with what `options_of` a seed asks for; every other begins unlike
    `unlike`, and one that equals it is the last to be chosen. `line_nats` are the nats of ordinary bars of the piece.
    """
    candidates, forks = [], []
    for number in range(N_CANDIDATES):
        seed = planner.seed if not number else planner.seed ^ (number << 40)
        fork, options = planner.fork(seed), options_of(seed)
        avoided = unlike[: number % 2]  # half of them begin otherwise
        candidates.append([
            fork.advance(options, given, avoided[i] if i < len(avoided) else None)[0] for i, given in enumerate(wanted)
        ])  # fmt: skip
        forks.append(fork)
    seam = np.array([_cost(fork, after, PlanOptions(), is_told=False) for fork in forks])
    rank = seam + np.array([1e6 * (candidate == list(unlike)) for candidate in candidates])
    best = int(rank.argmin())
    met = _cost(forks[best], after, condition_of(after, forks[best].n_planned, planner.n), is_told=True)
    usual = float(np.mean(line_nats)) / max(1, len(after)) if len(line_nats) else met
    return Bridge(candidates[best], seam, met / max(usual, 1e-9))


def _cost(planner: Planner, units: Sequence[Choices], options: PlanOptions, is_told: bool) -> float:
    """Nats of a unit that comes next, the mean; `planner` stays where it is."""
    fork = planner.fork(planner.seed)
    return sum(fork.advance(options, unit, is_told=is_told)[1] for unit in units) / max(1, len(units))


def condition_of(units: Sequence[Choices], first: int, n_prompt: int) -> PlanOptions:
    """What was asked of units, from number `first` on after a prompt of `n_prompt`, if they did as they were asked."""
    left, silent = np.zeros(3), np.zeros(3)
    for i, unit in enumerate(units):
        place = UnitChoice((first + i) % n_prompt)
        left += [choice != place for choice in unit]
        silent += [choice.silent for choice in unit]
    n = max(1, len(units))
    return PlanOptions(tuple((left / n).tolist()), tuple((silent / n).tolist()))
