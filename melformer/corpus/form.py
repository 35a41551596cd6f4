"""Form: which phrase comes when, and who plays in it."""

import numpy as np

from melformer.corpus.frame import Frame, pick
from melformer.corpus.passage import Section

_LETTERS = ("A", "AB", "AABA", "AABB", "ABAC", "ABAB", "AAAB")
_ENTRY = (
    ("kick", "hats", "bass", "snare", "perc", "comp", "pad", "arp", "lead"),
    ("comp", "pad", "lead", "hats", "snare", "kick", "bass", "arp", "perc"),
    ("bass", "kick", "snare", "hats", "comp", "arp", "lead", "pad", "perc"),
    ("arp", "pad", "kick", "bass", "hats", "snare", "comp", "lead", "perc"),
)
PLANS = ("steady", "steady", "build", "breakdown", "leave", "drop in", "solo")


def plan_form(frame: Frame, roles: set[str], rng: np.random.Generator) -> tuple[str, tuple[Section, ...]]:
    """Cut the passage into phrases with letters and layers; returns the plan's name and the sections."""
    units = -(-frame.n_bars // frame.phrase_bars)
    letters = str(pick(rng, _LETTERS)) if units > 1 else "A"
    plan = str(pick(rng, PLANS)) if units > 2 else "steady"
    sections = []
    for unit in range(units):
        layers = _layers(plan, unit, units, roles, rng)
        start = unit * frame.phrase_bars
        n_bars = min(frame.phrase_bars, frame.n_bars - start)
        sections.append(Section(letters[unit % len(letters)], start, n_bars, tuple(sorted(layers))))
    return plan, tuple(sections)


def _layers(plan: str, unit: int, units: int, roles: set[str], rng: np.random.Generator) -> set[str]:
    if plan == "steady":
        return set(roles)
    order = [r for r in _ENTRY[int(units * 7 + len(roles)) % len(_ENTRY)] if r in roles]
    middle = units // 2
    if plan == "build":
        count = max(2, round(len(order) * min(1.0, (unit + 1.5) / (middle + 1))))
        return set(order[:count])
    if plan == "leave" and unit >= middle:
        count = max(2, round(len(order) * (units - unit) / (units - middle + 0.5)))
        return set(order[:count])
    if plan == "breakdown" and unit == middle:
        quiet = set(roles) - {"kick", "snare", "bass", "perc"}
        return quiet or set(roles) - {"kick"}
    if plan == "drop in" and rng.random() < 0.5:
        return set(roles) - {str(pick(rng, order))} or set(roles)
    if plan == "solo" and unit % 2:
        return set(roles) - {"lead", "arp"} or set(roles)
    return set(roles)
