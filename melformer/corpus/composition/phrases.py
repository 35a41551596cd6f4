"""What is played under each letter of a form."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from melformer.corpus.composition import accompaniment, drumming, melody
from melformer.corpus.composition.frame import Frame, Span, draw_chords
from melformer.corpus.passage import Event

PLAYERS: dict[str, Callable[[Frame, list[Span], np.random.Generator], list[Event]]] = {
    "bass": accompaniment.play_bass,
    "comp": accompaniment.play_comp,
    "pad": accompaniment.play_pad,
    "arp": accompaniment.play_arp,
    "lead": melody.play_lead,
}
Streams = Callable[[str], np.random.Generator]
_KIN = "BC"
"""Letters that may keep A's chords and players; the others, of forms that never look back, keep its groove at most."""


@dataclass(frozen=True)
class Phrase:
    """Chords, and events by role ("drums" all together)."""

    spans: list[Span]
    events: dict[str, list[Event]]


def write_phrase(letter: str, frame: Frame, tonal: list[str], first: Phrase | None, stream: Streams) -> Phrase:
    """The phrase of a letter: A is the `first`, and later letters keep some of it."""
    rng = stream(f"letter {letter}")
    keep = first is not None and letter in _KIN and rng.random() < 0.5
    spans = first.spans if first and keep else draw_chords(frame, rng)
    drums = 0.3 if letter not in _KIN else 0.5 if frame.is_song else 0.6
    chances = dict.fromkeys(PLAYERS, 0.6 if keep else 0.0) | {"drums": drums}
    same = {role for role, chance in chances.items() if first and rng.random() < chance}
    sources = {role: stream(f"{role} {'A' if role in same else letter}") for role in tonal}
    events = {role: PLAYERS[role](frame, spans, sources[role]) for role in tonal}
    source = stream(f"drums {'A' if 'drums' in same else letter}")
    events["drums"] = drumming.play_drums(drumming.draw_drums(frame, source), frame, source)
    return Phrase(spans, events)


def other_tune(label: str, frame: Frame, phrase: Phrase, tonal: list[str], stream: Streams) -> Phrase:
    """The phrase with another tune, and at times another figure of broken chords, under a label as A"."""
    changing = {"lead"} | ({"arp"} if stream(f"tune {label}").random() < 0.5 else set())
    fresh = {role: PLAYERS[role](frame, phrase.spans, stream(f"{role} {label}")) for role in tonal if role in changing}
    return Phrase(phrase.spans, phrase.events | fresh)


def other_ending(label: str, frame: Frame, phrase: Phrase, tonal: list[str], stream: Streams) -> Phrase:
    """The phrase with its last quarter played anew by the tune and about half of the others, under a label as A'."""
    border = frame.phrase_beats - max(1.0, frame.phrase_beats // 4)
    rng = stream("ending" if label == "A'" else f"ending {label}")
    events = dict(phrase.events)
    for role in tonal:
        if role == "lead" or rng.random() < 0.5:
            fresh = PLAYERS[role](frame, phrase.spans, stream(f"{role} {label}"))
            before = [e for e in events[role] if e.start_beats < border]
            events[role] = before + [e for e in fresh if e.start_beats >= border]
    return Phrase(phrase.spans, events)
