"""What is asked of a continuation."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from melformer.errors import RequestError
from melformer.generate.planning.plan_options import PlanOptions, rng_of
from melformer.stems.stems import STEMS

_LIMITS = {
    "variation": (0.0, 1.0), "density": (0.0, 1.0), "temperature": (0.0, 3.0), "top_k": (0, 16_384),
    "top_p": (0.0, 1.0), "min_p": (0.0, 1.0),
}  # fmt: skip
PHRASE_BARS = 4
_SHARES = 7  # keeps these draws apart from those of units


@dataclass(frozen=True)
class GenerationConfig:
    """How a continuation is drawn; may change between two beats of a stream, and is heard from the next bar on.

    `variation` 0..1 is the share of a stem's half beats that leave the loop: at 0 the loop is played round. `density`
    0..1 says how much of a stem's room sounds: at 1 no rest is added to those that the loop has. `keep` names stems
    that play the loop on, `mute` those that are silent. `temperature` 0..3: 0 takes the likeliest, 1 draws from the
    model's own distribution; `top_k` (0: all), `top_p` (1: all) and `min_p` (0: all) leave out its tail. `draws` has a
    number for each of drums, bass and other: another number is another line of that stem, from the next beat on, while
    the other stems play for `PHRASE_BARS` bars what they would have played.
    Errors: RequestError for a value out of range or an unknown stem.
    """

    variation: float = 0.5
    density: float = 1.0
    keep: tuple[str, ...] = ()
    mute: tuple[str, ...] = ()
    draws: tuple[int, ...] = (0, 0, 0)
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.03

    def __post_init__(self) -> None:
        check_sampling(self, _LIMITS)
        for name in ("keep", "mute"):
            stems = getattr(self, name)
            if not isinstance(stems, (tuple, list)):
                raise RequestError(f"{name} is {str(stems)[:40]!r}; it must be a list of stems, such as ['drums'].")
            for stem in stems:
                if stem not in STEMS:
                    raise RequestError(f"There is no stem {stem!r}; stems are {', '.join(STEMS)}.")
            object.__setattr__(self, name, tuple(stems))
        object.__setattr__(self, "draws", check_draws(self.draws))

    def of_bar(self, seed: int, bar: int, loop: int = 0) -> PlanOptions:
        """What is asked of one bar of what follows a `loop` (a number that tells loops apart).

        Bars differ, as people's do: they keep the loop or leave it whole. Of every `PHRASE_BARS` as many leave it as
        are asked for, at most one of them in part; which, is drawn for each stem.
        """
        phrase, place = divmod(bar, PHRASE_BARS)
        shares, silences = np.zeros(len(STEMS)), np.zeros(len(STEMS))
        for k in range(len(STEMS)):
            rng = rng_of(self.draws[k], seed, phrase, loop, k, _SHARES)
            shares[k] = _of_phrase(self.variation)[rng.permutation(PHRASE_BARS)[place]]
            silences[k] = _of_phrase(1.0 - self.density)[rng.permutation(PHRASE_BARS)[place]]
        return PlanOptions(
            variation=tuple(shares.tolist()), silence=tuple(silences.tolist()),
            keep=tuple(name in self.keep or not self.variation for name in STEMS),
            mute=tuple(name in self.mute for name in STEMS), draws=self.draws,
            temperature=self.temperature, top_k=int(self.top_k), top_p=self.top_p, min_p=self.min_p,
        )  # fmt: skip


def check_sampling(config: Any, limits: dict[str, tuple[float, float]]) -> None:
    """Numbers of a config in their ranges, `top_k` and `top_p` among them. Errors: RequestError."""
    for name, (low, high) in limits.items():
        value = getattr(config, name)
        bad = isinstance(value, bool) or not isinstance(value, (int, float))
        if bad or not low <= value <= high:  # NaN is in no range
            raise RequestError(f"{name} is {value!r}; it must be a number from {low:g} to {high:g}.")
    if config.top_p == 0.0 or config.top_k != int(config.top_k):
        raise RequestError("top_p must be above 0 (1 keeps everything), and top_k a whole number.")


def check_draws(draws: Any) -> tuple[int, ...]:
    """A number for each stem. Errors: RequestError."""
    ok = isinstance(draws, (tuple, list)) and len(draws) == len(STEMS)
    if not ok or not all(type(draw) is int and 0 <= draw < 2**31 for draw in draws):
        raise RequestError(f"draws is {str(draws)[:40]}; it must be {len(STEMS)} whole numbers from 0, one a stem.")
    return tuple(draws)


def _of_phrase(mean: float) -> np.ndarray:
    """Shares of a phrase's bars whose mean is `mean`, all 1 or 0 but one: (PHRASE_BARS,)."""
    return np.clip(mean * PHRASE_BARS - np.arange(PHRASE_BARS), 0.0, 1.0)
