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
    """The chosen units, the nats that a unit of what follows costs after each candidate (C,), and those of a unit of
    ordinary bars (n,)."""

    choices: list[Choices]
    seam_nats: np.ndarray
    line_nats: np.ndarray

    @property
    def surprise(self) -> float:
        """Nats of the seam over those of an ordinary bar: about 1 where it passes unnoticed."""
        usual = float(self.line_nats.mean()) if len(self.line_nats) else float(self.seam_nats.min())
        return float(self.seam_nats.min() / max(usual, 1e-9))


def best_bridge(
    planner: Planner, options_of: Callable[[int], PlanOptions], wanted: Sequence[tuple[UnitChoice | None, ...]],
    after: Sequence[Choices], line_nats: Sequence[float] = (), unlike: Sequence[Choices] = (),
) -> Bridge:  # fmt: skip
    """Units from where `planner` stands, chosen among candidates by how likely they make what comes `after`.

    `wanted` says for each unit and stem what is given (None: drawn). Candidate 0 is what the planner would have drawn
    anyway, the others are drawn with other seeds, and with what `options_of` a seed asks for; every other begins unlike
    `unlike`, and one that equals it is the last to be chosen. `line_nats` are the nats of ordinary bars of the piece.
    """
    candidates: list[list[Choices]] = []
    costs = []
    for number in range(N_CANDIDATES):
        seed = planner.seed if not number else planner.seed ^ (number << 40)
        fork, options = planner.fork(seed), options_of(seed)
        avoided = unlike[: number % 2]  # half of them begin otherwise
        candidates.append([
            fork.advance(options, given, avoided[i] if i < len(avoided) else None)[0] for i, given in enumerate(wanted)
        ])  # fmt: skip
        costs.append(sum(fork.advance(options_of(planner.seed), unit)[1] for unit in after))
    seam = np.array(costs) / max(1, len(after))
    lines = np.array(line_nats, float) / max(1, len(after))
    rank = seam + np.array([1e6 * (candidate == list(unlike)) for candidate in candidates])
    return Bridge(candidates[int(rank.argmin())], seam, lines)
