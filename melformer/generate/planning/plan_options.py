"""What is asked of what comes next, and how it is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from melformer.errors import CheckpointError
from melformer.stems.units import UnitChoice

Choices = tuple[UnitChoice, ...]
Given = tuple[UnitChoice | None, ...]
"""Of drums, bass and other: what is settled already, None where it is drawn."""
FREE: Given = (None, None, None)


@dataclass(frozen=True)
class PlanOptions:
    """What is asked of a bar: for each stem the share of its units that leave the loop, and that fall silent, 0 to 1;
    whether it plays the loop on (`keep`) or not at all (`mute`), and which of its `draws` is meant (0: the seed's own);
    how boldly choices are drawn."""

    variation: tuple[float, ...] = (0.4, 0.4, 0.4)
    silence: tuple[float, ...] = (0.0, 0.0, 0.0)
    keep: tuple[bool, ...] = (False, False, False)
    mute: tuple[bool, ...] = (False, False, False)
    draws: tuple[int, ...] = (0, 0, 0)
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.03

    def with_stems_of(self, other: "PlanOptions", stems: Sequence[bool]) -> "PlanOptions":
        """These options, but what is asked of the marked `stems` is what `other` asks of them."""
        mixed: dict[str, Any] = {}
        for name in ("variation", "silence", "keep", "mute", "draws"):
            pairs = zip(getattr(self, name), getattr(other, name))
            mixed[name] = tuple(pair[marked] for pair, marked in zip(pairs, stems))
        return replace(self, **mixed)


def rng_of(draw: int, *entropy: int) -> np.random.Generator:
    """The generator of one choice. Draw 0 is the seed's own."""
    return np.random.default_rng([*entropy, draw] if draw else list(entropy))


def sample(logits: Tensor, rng: np.random.Generator, options: PlanOptions) -> int:
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
