"""What a page or a script may ask for, checked before any work begins."""

import math
from dataclasses import dataclass
from typing import Any

from melformer.errors import RequestError
from melformer.generate import GenerationConfig
from melformer.stems import STEMS
from melformer.ui.host.limits import Limits

MAX_SEED = 2**31 - 1
KNOBS = ("temperature", "top_k", "top_p", "min_p", "variation", "density")


@dataclass(frozen=True)
class GenerationRequest:
    """New beats, please: how many (None: endless), from which seed, after which take (None: after the loop).

    `vary`: a take, and the stem of it that is drawn anew while the others stay.
    `lead_in_s`: how much of the loop is heard before the first new beat. `close_loop`: end so that it can be played
    round. `with_stems`: each beat comes with its stems, for a page that mixes them.
    """

    n_beats: int | None
    seed: int
    config: GenerationConfig
    keep: int | None = None
    lead_in_s: float = 0.0
    close_loop: bool = False
    vary: tuple[int, str] | None = None
    with_stems: bool = False


def whole_number(value: Any, name: str, low: int, high: int) -> int:
    """A whole number in [low, high], also when it arrives as 4.0 or "4". Errors: RequestError."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not (number.is_integer() and low <= number <= high):
        raise RequestError(f"{name} must be a whole number from {low} to {high:,}, not {str(value)[:40]}.")
    return int(number)


def real_number(value: Any, name: str) -> float:
    """A finite number. Errors: RequestError."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise RequestError(f"{name} must be a number, not {str(value)[:40]}.")
    return number


def read_config(data: dict[str, Any]) -> GenerationConfig:
    """`GenerationConfig` from the knobs in `data`; what is missing keeps its default. Errors: RequestError."""
    values: dict[str, Any] = {}
    for knob in KNOBS:
        if data.get(knob) is None:
            continue
        if knob == "top_k":
            values[knob] = whole_number(data[knob], "top-k", 0, 1024)
        else:
            values[knob] = real_number(data[knob], knob.replace("_", "-"))
    for knob, name in (("kept", "keep"), ("muted", "mute")):
        stems = data.get(knob) or ()
        if not isinstance(stems, (list, tuple)) or len(stems) > len(STEMS):
            raise RequestError(f"{name} must be a list of stems, not {str(stems)[:40]}.")
        values[name] = tuple(str(stem)[:40] for stem in stems)
    values["draws"] = _read_draws(data.get("draws"))
    return GenerationConfig(**values)


def _read_draws(draws: Any) -> tuple[int, ...]:
    """Of drums, bass and other, from a number for each stem that has another line than the seed's own."""
    if draws is None:
        return (0,) * len(STEMS)
    if not isinstance(draws, dict) or not set(draws) <= set(STEMS):
        raise RequestError(f"draws must be a number for each stem of {', '.join(STEMS)}, not {str(draws)[:40]}.")
    return tuple(whole_number(draws.get(name, 0), f"The draw of {name}", 0, MAX_SEED) for name in STEMS)


def read_redrawn(data: dict[str, Any]) -> str | None:
    """The stem that plays another line from now on, if one does. Errors: RequestError."""
    stem = data.get("redraw")
    if stem is not None and stem not in STEMS:
        raise RequestError(f"A stem is one of {', '.join(STEMS)}, not {str(stem)[:40]}.")
    return None if stem is None else str(stem)


def read_request(data: dict[str, Any], limits: Limits) -> GenerationRequest:
    """Check what was asked for. Errors: RequestError, each with the limit in its sentence."""
    n_beats = data.get("n_beats")
    keep = data.get("keep")
    close_loop = data.get("close_loop", False)
    if not isinstance(close_loop, bool):
        raise RequestError(f"close_loop must be true or false, not {str(close_loop)[:40]}.")
    if close_loop and (n_beats is None or keep is not None):
        raise RequestError("To close the loop, give a number of beats and start a new take.")
    return GenerationRequest(
        n_beats=None if n_beats is None else whole_number(n_beats, "The number of beats", 1, limits.beats),
        seed=whole_number(data.get("seed", 0), "The seed", 0, MAX_SEED),
        config=read_config(data),
        keep=None if keep is None else whole_number(keep, "The take", 1, 1_000_000),
        lead_in_s=min(600.0, max(0.0, real_number(data.get("lead_in_s", 0.0), "The lead-in"))),
        close_loop=close_loop,
        vary=_read_vary(data.get("vary"), keep, close_loop),
        with_stems=data.get("stems") is True,
    )


def _read_vary(vary: Any, keep: Any, close_loop: bool) -> tuple[int, str] | None:
    if vary is None:
        return None
    if not isinstance(vary, dict) or vary.get("stem") not in STEMS:
        raise RequestError(f"vary must name a take and a stem of {', '.join(STEMS)}, not {str(vary)[:40]}.")
    if keep is not None or close_loop:
        raise RequestError("vary makes a new take: it goes with neither keep nor close_loop.")
    return whole_number(vary.get("take"), "The take", 1, 1_000_000), str(vary["stem"])
