"""Compose a passage: everything about it is decided here, from one seed, before a sample is rendered."""

import zlib
from collections import defaultdict
from dataclasses import replace
from itertools import groupby

import numpy as np

from melformer.audio.grid import beats_per_second
from melformer.corpus import sound_sources
from melformer.corpus.composition import drumming
from melformer.corpus.composition.form import Dynamics, Plan, draw_dynamics, draw_transitions, plan_form
from melformer.corpus.composition.frame import METRES, Frame, Span, draw_frame, pick
from melformer.corpus.composition.phrases import PLAYERS, Phrase, Streams, other_ending, other_tune, write_phrase
from melformer.corpus.mixing import console
from melformer.corpus.passage import Event, Passage, Section
from melformer.corpus.styles.table import STYLES, find_style
from melformer.corpus.theory.patterns import swing
from melformer.errors import RequestError

FREE_SHARE = 0.12
"""Of the passages of more than eight bars: those in which nobody keeps time."""
SECTION_FILL = 0.6
"""The least chance of a fill where another section follows."""
BREAK_SHARE = 0.3
"""Of the sections that another one follows: those at whose end some of the players stop."""
_BREAKS = (
    {"kick", "bass"}, {"kick", "snare", "hats", "perc"}, {"kick", "snare", "hats", "perc", "bass"},
    {"comp", "pad", "arp", "lead"}, {"kick", "snare", "hats", "perc", "bass", "comp", "pad", "arp"},
)  # fmt: skip
FEW = (1, 1, 2, 2, 3)
"""How many play where few do, each as likely."""


def streams(seed: int) -> Streams:
    """Independent random streams by name, so that a change to one purpose leaves the others alone."""
    return lambda name: np.random.default_rng([seed & 0xFFFFFFFF, seed >> 32, zlib.crc32(name.encode())])


def compose(
    seed: int, style: str | None = None, n_beats: int | None = None, *, long: float = 0.6,
    kinds: frozenset[str] | None = None, few: bool = False, metre: str | None = None,
) -> Passage:  # fmt: skip
    """Compose the passage of a seed, 0 ≤ seed < 2⁶³; the same arguments give the same passage.

    `style` and `n_beats` (1 to 1,024) are drawn when not given: a longer passage with probability `long`, else a loop
    of 1, 2, 4 or 8 bars. `kinds` of material to use besides synthesis; None takes what is installed. `few` lets one to
    three of the players play, each part of the drums for one. `metre` is one of `METRES`, else drawn.
    Errors: RequestError for an unknown style or metre, or a seed or length out of range.
    """
    chosen = None if style is None else find_style(style)
    if not 0 <= seed < 2**63 or (n_beats is not None and not 1 <= n_beats <= 1024):
        raise RequestError(f"seed {seed} or n_beats {n_beats} out of range: 0..2^63 - 1 and 1..1,024")
    if metre is not None and metre not in METRES:
        raise RequestError(f"unknown metre {metre!r}: choose from {', '.join(METRES)}")
    kinds = sound_sources.found() if kinds is None else kinds
    stream = streams(seed)
    rng = stream("frame")
    drawn = STYLES[str(pick(rng, tuple(STYLES)))]
    played = chosen or drawn
    frame = draw_frame(played if metre is None else replace(played, metres={metre: 1.0}), n_beats, long, rng)
    if frame.n_bars > 8 and stream("free").random() < FREE_SHARE:
        frame = replace(frame, restless=True, free=True)
    tonal = [role for role in PLAYERS if stream(f"has {role}").random() < frame.style.chances.get(role, 0.5)]
    phrases = {"A": write_phrase("A", frame, tonal, None, stream)}
    plan = plan_form(frame, _choose_roles(phrases["A"], frame, tonal, stream, few), stream("form"))
    labels = sorted({section.label for section in plan.sections})
    for letter in sorted({label[0] for label in labels} - {"A"}):
        phrases[letter] = write_phrase(letter, frame, tonal, phrases["A"], stream)
    for label in (label for label in labels if label[1:]):
        vary = other_tune if label.endswith('"') else other_ending
        phrases[label] = vary(label, frame, phrases[label[0]], tonal, stream)
    tracks = _lay_out(frame, plan, phrases, stream)
    chords = [_bar_chords(frame, phrases[s.label].spans, bar) for s in plan.sections for bar in _bars(s)]
    return console.set_up(seed, frame, plan, tracks, chords, kinds, stream)


def _choose_roles(phrase: Phrase, frame: Frame, tonal: list[str], stream: Streams, few: bool) -> set[str]:
    """Who plays at all: mostly everyone, sometimes drums alone, no drums, or one player, as in loop libraries."""
    drums = {drumming.role_of(e.sound) for e in phrase.events["drums"]}
    if stream("perc").random() > frame.style.chances.get("perc", 0.5):
        drums.discard("perc")
    playing = [role for role in tonal if phrase.events[role]]
    if few:
        everybody, rng = sorted(drums | set(playing)) or ["hats"], stream("few")
        n = min(len(everybody), int(pick(rng, FEW)))
        return set(rng.choice(everybody, n, replace=False).tolist())
    if frame.free and playing:
        return set(playing)
    draw = stream("roles").random() * (1.0 if frame.n_bars <= 8 else 2.0)  # few would listen to 64 beats of that
    if (draw < 0.1 or not playing) and drums:
        return drums
    if draw < 0.16 and playing:
        return set(playing)
    alone = [role for role in playing if role != "pad"]
    if draw < 0.2 and alone:
        return {str(pick(stream("alone"), alone))}
    return (drums | set(playing)) or {"hats"}


def _lay_out(frame: Frame, plan: Plan, phrases: dict[str, Phrase], stream: Streams) -> dict[str, list[Event]]:
    """Copy the phrases to their places; add fills, transitions, swing and a hand. Role → events in order."""
    rng = stream("feel")
    amount = float(rng.uniform(*frame.style.swing))
    fills = float(rng.uniform(0.0, 1.0)) if len(plan.sections) > 1 else 0.0
    tracks: dict[str, list[Event]] = defaultdict(list)
    for i, section in enumerate(plan.sections):
        played = dict(phrases[section.label].events)
        played["drums"] = _at_borders(played["drums"], frame, plan, i, fills, rng, stream)
        bars = _bars(section)
        first, last = bars.start * frame.bar_beats - 1e-6, bars.stop * frame.bar_beats - 1e-6
        for role, event in ((r, e) for r, events in played.items() for e in events):
            layer = role if role != "drums" else drumming.role_of(event.sound)
            if layer in section.layers and first <= event.start_beats < last:
                start = (section.start_bar - bars.start) * frame.bar_beats + event.start_beats
                tracks[layer].append(replace(event, start_beats=start))
    if frame.is_song:
        _break_down(tracks, frame, plan, stream("breaks"))
    if frame.free:
        tracks.update({role: wandering(events, stream(f"free {role}")) for role, events in tracks.items()})
    loudness = draw_dynamics(frame, plan.sections, stream("dynamics"))
    felt = {
        role: _feel(events, frame, amount, loudness, stream(f"feel {role}")) for role, events in sorted(tracks.items())
    }
    extras = _draw_extras(frame, plan, stream)
    return {**felt, "fx": extras} if extras else felt


def _at_borders(
    drums: list[Event], frame: Frame, plan: Plan, index: int, fills: float, rng: np.random.Generator, stream: Streams
) -> list[Event]:
    """A phrase's drums with a fill at its end and a crash at its start; more of both where a song's section changes."""
    section, bars = plan.sections[index], _bars(plan.sections[index])
    letters = [s.label[0] for s in plan.sections[max(0, index - 1) : index + 2]]
    starts = frame.is_song and index > 0 and letters[0] != section.label[0]
    ends = frame.is_song and letters[-1] != section.label[0]
    chance = max(fills, SECTION_FILL) if ends else fills
    if bars.stop == frame.phrase_bars and "snare" in section.layers and rng.random() < chance:
        drums = _with_fill(drums, frame, stream(f"fill {section.label}{' end' * ends}"))
    if section.start_bar and not bars.start and "hats" in section.layers and rng.random() < (0.5 if starts else 0.25):
        drums = [Event(0.0, 1.0, 60, 0.85, "crash"), *drums]
    return drums


def _break_down(tracks: dict[str, list[Event]], frame: Frame, plan: Plan, rng: np.random.Generator) -> None:
    """Silence some of the players at the ends of some sections, for a beat, two, or a bar."""
    for section, after in zip(plan.sections, plan.sections[1:]):
        border = float(after.start_bar * frame.bar_beats)
        chosen, length = pick(rng, _BREAKS), min(float(pick(rng, (1, 2, frame.bar_beats))), frame.bar_beats)
        if after.label[0] == section.label[0] or rng.random() >= BREAK_SHARE or not tracks.keys() - chosen:
            continue
        for role in chosen & tracks.keys():
            tracks[role] = [e for e in tracks[role] if not border - length - 1e-6 <= e.start_beats < border - 1e-6]


def _draw_extras(frame: Frame, plan: Plan, stream: Streams) -> list[Event]:
    """What is not played by anybody: risers and impacts, the noise of a record."""
    extras: list[Event] = []
    if stream("fx").random() < frame.style.chances.get("fx", 0.03):
        extras += draw_transitions(frame, plan.sections, stream("transitions"))
    if stream("record").random() < 0.6 * frame.style.lofi:
        extras.append(Event(0.0, float(frame.n_beats), 60, 0.1, "record"))
    return extras


def _bars(section: Section) -> range:
    """The bars of the phrase that a section plays."""
    return range(section.phrase_bar, section.phrase_bar + section.n_bars)


def _with_fill(events: list[Event], frame: Frame, rng: np.random.Generator) -> list[Event]:
    """The phrase's drums with a fill in the last bar."""
    last = (frame.phrase_bars - 1) * frame.bar_beats
    fill, replaced = drumming.draw_fill(frame, rng)
    kept = [e for e in events if e.start_beats < last - 1e-6 or e.sound not in replaced]
    return kept + [replace(e, start_beats=e.start_beats + last) for e in fill]


def _feel(
    events: list[Event], frame: Frame, amount: float, loudness: Dynamics, rng: np.random.Generator
) -> list[Event]:
    """Dynamics, swing, then a hand's unevenness, then nothing before the start or after the end."""
    spread = frame.style.human_ms / 1000 * beats_per_second(frame.bpm)
    swung = amount if frame.metre in ("4/4", "5/4", "3/4") else 0.0
    out = []
    for event in events:
        start = swing(event.start_beats, swung, frame.style.swing_step) if swung else event.start_beats
        velocity = event.velocity * loudness(event.start_beats)
        if spread:
            start += min(max(rng.normal(0, spread), -2 * spread), 2 * spread)
            velocity *= rng.normal(1, 0.06)
        velocity = min(max(velocity, 0.02), 1.0)
        start = round(max(0.0, start), 6)
        if max(start + 0.02, event.start_beats) < frame.n_beats:
            length = round(min(event.duration_beats, frame.n_beats - start), 4)
            written = round(event.start_beats, 6)
            moved = replace(event, start_beats=start, written_beats=written, duration_beats=length)
            out.append(replace(moved, velocity=round(velocity, 3)))
    return sorted(out, key=lambda e: (e.start_beats, e.pitch, e.sound))


def _bar_chords(frame: Frame, spans: list[Span], bar: int) -> list[str]:
    start, stop = bar * frame.bar_beats, (bar + 1) * frame.bar_beats
    return [s.chord.name for s in spans if s.start_beats < stop - 1e-6 and s.stop_beats > start + 1e-6]


_SHIFTS = (-0.5, -0.25, 0.0, 0.0, 0.25, 0.5)
_REST, _ENTRY = 0.2, 0.5
"""Chances at each stroke that a rest begins, and that one ends."""


def wandering(events: list[Event], rng: np.random.Generator) -> list[Event]:
    """One player's events (in any order) with rests between them, strokes sooner or later by up to half a beat, held
    up to three times as long, loud and soft at will. What is struck together stays together."""
    out: list[Event] = []
    resting = bool(rng.random() < 0.3)
    for start, struck in groupby(sorted(events, key=lambda e: (e.start_beats, e.pitch)), lambda e: e.start_beats):
        resting = rng.random() >= _ENTRY if resting else rng.random() < _REST
        moved = max(0.0, start + float(rng.choice(_SHIFTS)))
        held, loud = float(rng.uniform(1.0, 3.0)), float(rng.uniform(0.25, 1.0))
        if not resting:
            out += [
                replace(e, start_beats=moved, duration_beats=e.duration_beats * held, velocity=e.velocity * loud)
                for e in struck
            ]
    return out
