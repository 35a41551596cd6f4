"""Form: which phrase comes when, who plays in it, and what leads from one to the next."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from melformer.corpus.composition.frame import Frame, pick
from melformer.corpus.passage import Event, Section

# A' is A with another ending, A" is A with another tune.
_LETTERS = tuple(
    tuple(letters.split())
    for letters in (
        "A", "A A'", "A A'", "A B", "A A B A", "A A' B A", "A A B B", "A B A C", "A A' A B", "A A A A'", "A A A' B B A",
        "A B A' C", "A A' B C", "A B C A'", "A A B A C A", "A B A D A'",
    )
)  # fmt: skip
_ONWARD = ("A B C D E F G H", "A B D E F G H", "A D E F B G")  # forms that never look back
# Sections of longer pieces, each of several statements of its phrase: what was heard comes back after another section.
_SONGS = (
    "A B A B", "A A B A", "A B A C A", "A B A B C B", "A B C A B", "A B C B A", "A A B B", "A B B A", "A B A C B A",
    "A B C A B C",
)  # fmt: skip
_SECTION_BEATS = (16, 32, 32, 32, 32, 64)
_ENTRY = (
    ("kick", "hats", "bass", "snare", "perc", "comp", "pad", "arp", "lead"),
    ("comp", "pad", "lead", "hats", "snare", "kick", "bass", "arp", "perc"),
    ("bass", "kick", "snare", "hats", "comp", "arp", "lead", "pad", "perc"),
    ("arp", "pad", "kick", "bass", "hats", "snare", "comp", "lead", "perc"),
    ("hats", "perc", "kick", "snare", "bass", "comp", "lead", "arp", "pad"),
)
_PLANS = (
    "steady", "steady", "build", "breakdown", "leave", "arch", "drop in", "solo", "answer", "false start", "two drops",
    "bridge", "relay",
)  # fmt: skip
STATED_TWICE = 0.75
"""Of the songs: those that state even the longest phrase twice before they go on."""
WHOLE_KIT = 0.6
"""Of the songs: those in which the drums come and go as one."""
_DRUMS = frozenset({"kick", "snare", "hats", "perc"})


@dataclass(frozen=True)
class Plan:
    """The name of the plan of layers, and the sections."""

    name: str
    sections: tuple[Section, ...]


def plan_form(frame: Frame, roles: set[str], rng: np.random.Generator) -> Plan:
    """Cut the passage into phrases with letters, and these, where they are long, into halves with layers."""
    long = frame.n_bars > 8 and frame.phrase_bars >= 4
    step = frame.phrase_bars // 2 if long else frame.phrase_bars
    letters = _draw_letters(frame, rng)
    units = -(-frame.n_bars // step)
    name = str(pick(rng, _PLANS)) if units > 2 else "steady"
    order = [r for r in pick(rng, _ENTRY) if r in roles]
    sections = []
    whole_kit = frame.is_song and bool(rng.random() < WHOLE_KIT)
    for unit in range(units):
        layers = _layers(name, unit, units, order, rng)
        if whole_kit and layers & _DRUMS:
            layers |= _DRUMS & set(order)
        phrase, within = divmod(unit * step, frame.phrase_bars)
        n_bars = min(step, frame.n_bars - unit * step)
        label = letters[phrase % len(letters)]
        sections.append(Section(label, unit * step, n_bars, tuple(sorted(layers or order)), within))
    return Plan(name, tuple(sections))


def _draw_letters(frame: Frame, rng: np.random.Generator) -> tuple[str, ...]:
    """The phrases' letters in order, to be played round."""
    letters = pick(rng, _LETTERS) if frame.n_bars > frame.phrase_bars else ("A",)
    if frame.restless and (frame.is_song or len(letters) > 1):
        return tuple(str(pick(rng, _ONWARD)).split())
    if not frame.is_song:
        return letters
    song = pick(rng, _SONGS).split()
    least = 2 if rng.random() < STATED_TWICE else 1
    n_statements = max(least, int(pick(rng, _SECTION_BEATS)) // frame.phrase_beats)
    endings = {letter: str(pick(rng, ("same", "last", "last", "every second", "tune"))) for letter in song}
    return tuple(
        label
        for i, letter in enumerate(song)
        for label in _statements(letter, n_statements, endings[letter], again=letter in song[:i])
    )


def _statements(letter: str, count: int, ending: str, again: bool) -> list[str]:
    """A section: its phrase again and again, with another ending the last time or every second time, or another tune
    every second time. When the section comes `again`, it ends otherwise than before.
    """
    if count == 1:
        return [letter + ('"' if ending == "tune" else "'") * again]
    if ending in ("every second", "tune"):
        mark = '"' if ending == "tune" else "'"
        return [letter + mark * (i % 2) for i in range(count)]
    return [letter] * (count - 1) + [letter + "'" * ((ending == "last") != again)]


def _layers(plan: str, unit: int, units: int, order: list[str], rng: np.random.Generator) -> set[str]:
    """Who plays in one section of a plan."""
    everyone, middle = set(order), units // 2
    if plan == "build" or (plan == "arch" and unit < middle):
        return set(order[: _share(order, (unit + 1.5) / (middle + 1))])
    if plan in ("leave", "arch") and unit >= middle:
        return set(order[: _share(order, (units - unit) / (units - middle - 0.5))])
    if plan == "breakdown" and middle <= unit < middle + max(1, units // 5):
        return everyone - {"kick", "snare", "bass", "perc"}
    if plan == "false start" and unit in (0, 2):  # everything, nearly nothing, a little, everything
        return everyone if not unit else set(order[:2])
    if plan == "false start" and unit == 1:
        return set(order[:1])
    if plan == "two drops" and unit % 4 in (0, 1) and unit < units - 1:  # drums leave, and come back one by one
        return everyone - (_DRUMS | {"bass"} if unit % 4 == 0 else {"kick", "bass"})
    if plan == "bridge" and unit == max(1, 2 * units // 3):
        return everyone & {"pad", "comp", "arp", "perc"}
    if plan == "relay":  # two at a time hand on to the next two
        return {order[(unit + i) % len(order)] for i in range(max(2, len(order) // 2))}
    if plan == "drop in" and rng.random() < 0.6:
        return everyone - {str(pick(rng, order))}
    if plan == "solo" and unit % 2:
        return everyone - {"lead", "arp"}
    if plan == "answer" and unit % 2:
        return everyone - (_DRUMS - {"hats"}) if unit % 4 == 1 else everyone - {"comp", "pad"}
    return everyone


def _share(order: list[str], share: float) -> int:
    return max(1, min(len(order), round(len(order) * min(1.0, share))))


def draw_transitions(frame: Frame, sections: tuple[Section, ...], rng: np.random.Generator) -> list[Event]:
    """Risers and reversed cymbals into fuller sections, impacts and falls where they begin."""
    events = []
    for before, after in zip(sections, sections[1:], strict=False):
        border = after.start_bar * frame.bar_beats
        fuller = len(after.layers) > len(before.layers)
        if rng.random() < (0.85 if fuller else 0.25):
            longest = before.n_bars * frame.bar_beats
            length = float(min(longest, pick(rng, (1, 2, frame.bar_beats, 2 * frame.bar_beats, 4 * frame.bar_beats))))
            sound = "reverse" if length <= 2 else "riser"
            events.append(Event(border - length, length, 60, round(float(rng.uniform(0.5, 1.0)), 3), sound))
        if rng.random() < (0.6 if fuller else 0.2):
            sound = str(pick(rng, ("impact", "fall", "impact")))
            events.append(Event(float(border), float(min(2 * frame.bar_beats, 8)), 60, 0.8, sound))
    return events


Dynamics = Callable[[float], float]
_HUMAN_MS = 3.0
"""Styles played by hand, whose timing spreads this far, swell and fade more often than those of machines."""


def draw_dynamics(frame: Frame, sections: tuple[Section, ...], rng: np.random.Generator) -> Dynamics:
    """A factor above 0 up to 1 for each beat: 1 throughout, or a line that grows, falls or jumps with the sections."""
    by_hand = frame.style.human_ms >= _HUMAN_MS
    if rng.random() > (0.45 if by_hand else 0.12):
        return lambda beat: 1.0
    softest = float(rng.uniform(0.2, 0.7))
    beats: list[float] = []
    levels: list[float] = []
    level = float(rng.uniform(softest, 1.0))
    for section in sections:
        start = section.start_bar * frame.bar_beats
        if rng.random() < 0.35:  # suddenly
            level = float(rng.uniform(softest, 1.0))
        beats.append(start)
        levels.append(level)
        level = float(rng.uniform(softest, 1.0)) if rng.random() < 0.7 else level
        beats.append(start + section.n_bars * frame.bar_beats - 0.01)
        levels.append(level)
    return lambda beat: float(np.interp(beat, beats, levels))
