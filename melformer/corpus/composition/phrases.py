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
    chances = dict.fromkeys(PLAYERS, 0.6 if keep else 0.0) | {"drums": 0.6 if letter in _KIN else 0.3}
    same = {role for role, chance in chances.items() if first and rng.random() < chance}
    sources = {role: stream(f"{role} {'A' if role in same else letter}") for role in tonal}
    events = {role: PLAYERS[role](frame, spans, sources[role]) for role in tonal}
    source = stream(f"drums {'A' if 'drums' in same else letter}")
    events["drums"] = drumming.play_drums(drumming.draw_drums(frame, source), frame, source)
    return Phrase(spans, events)


def other_ending(frame: Frame, phrase: Phrase, tonal: list[str], stream: Streams) -> Phrase:
    """The phrase with its last quarter played anew by the tune and about half of the others."""
    border = frame.phrase_beats - max(1.0, frame.phrase_beats // 4)
    rng = stream("ending")
    events = dict(phrase.events)
    for role in tonal:
        if role == "lead" or rng.random() < 0.5:
            fresh = PLAYERS[role](frame, phrase.spans, stream(f"{role} A'"))
            before = [e for e in events[role] if e.start_beats < border]
            events[role] = before + [e for e in fresh if e.start_beats >= border]
    return Phrase(phrase.spans, events)
