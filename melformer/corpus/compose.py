"""Compose a passage: everything about it is decided here, from one seed, before a sample is rendered."""

import zlib
from collections import defaultdict
from dataclasses import replace

import numpy as np

from melformer.corpus import desk, drumming, melody, playing
from melformer.corpus.form import plan_form
from melformer.corpus.frame import Frame, Span, draw_chords, draw_frame, pick
from melformer.corpus.passage import Event, Passage, Section
from melformer.corpus.patterns import swing
from melformer.corpus.style_table import STYLES
from melformer.corpus.theory import NOTE_NAMES

TONAL = ("bass", "comp", "pad", "arp", "lead")
_PLAYERS = {"bass": playing.play_bass, "comp": playing.play_comp, "pad": playing.play_pad, "arp": playing.play_arp, "lead": melody.play_lead}


def stream(seed: int, name: str) -> np.random.Generator:
    """An independent random stream for one purpose, so that a change in one leaves the others alone."""
    return np.random.default_rng([seed & 0xFFFFFFFF, seed >> 32, zlib.crc32(name.encode())])


def compose(seed: int, style: str | None = None, n_beats: int | None = None, long: float = 0.6) -> Passage:
    """Compose the passage of a seed (0 ≤ seed < 2⁶³); `style` and `n_beats` are drawn when not given.

    Errors: KeyError for an unknown style.
    """
    rng = stream(seed, "frame")
    name = style or str(pick(rng, tuple(STYLES)))
    frame = draw_frame(STYLES[name], n_beats, long, rng)
    tonal = [r for r in TONAL if stream(seed, f"has {r}").random() < frame.style.chances.get(r, 0.5)]
    letters = _write_letters(frame, tonal, seed)
    drums = {drumming.role_of(e.sound) for e in letters["A"][1]["drums"]}
    if "perc" in drums and stream(seed, "perc").random() > frame.style.chances.get("perc", 0.5):
        drums.discard("perc")
    if stream(seed, "no drums").random() < 0.06 and len(tonal) > 1:
        drums = set()
    plan, form = plan_form(frame, drums | set(tonal), stream(seed, "form"))
    tracks = _lay_out(frame, form, letters, seed)
    bars = [_bar_chords(frame, letters[s.label][0], bar) for s in form for bar in range(s.n_bars)]
    return desk.set_up(frame, seed, plan, form, tracks, bars, NOTE_NAMES[frame.tonic], stream)


def _write_letters(frame: Frame, tonal: list[str], seed: int) -> dict[str, tuple[list[Span], dict[str, list[Event]]]]:
    """Chords and events of one phrase for each letter of the form; later letters keep the groove, mostly."""
    written: dict[str, tuple[list[Span], dict[str, list[Event]]]] = {}
    for letter in "ABC":
        rng = stream(seed, f"letter {letter}")
        keep = letter != "A" and rng.random() < 0.5
        spans = written["A"][0] if keep else draw_chords(frame, rng)
        same = {r for r in (*TONAL, "drums") if letter != "A" and rng.random() < (0.6 if keep or r == "drums" else 0.0)}
        events: dict[str, list[Event]] = {}
        for role in tonal:
            source = stream(seed, f"{role} {'A' if role in same else letter}")
            events[role] = _PLAYERS[role](frame, spans, source)
        source = stream(seed, f"drums {'A' if 'drums' in same else letter}")
        events["drums"] = drumming.play_drums(drumming.draw_drums(frame, source), frame, source)
        written[letter] = (spans, events)
    return written


def _lay_out(frame: Frame, form: tuple[Section, ...], letters: dict, seed: int) -> dict[str, list[Event]]:
    """Copy the phrases to their places, add fills, swing and humanise; role → events in time order."""
    rng = stream(seed, "feel")
    amount = float(rng.uniform(*frame.style.swing))
    fills = float(rng.uniform(0.0, 1.0))
    tracks: dict[str, list[Event]] = defaultdict(list)
    for i, section in enumerate(form):
        offset = section.start_bar * frame.bar_beats
        played = dict(letters[section.label][1])
        if "snare" in section.layers and len(form) > 1 and rng.random() < fills:
            played["drums"] = _with_fill(played["drums"], frame, section, stream(seed, f"fill {section.label}"))
        if i and "hats" in section.layers and "drums" in played and rng.random() < 0.25:
            played["drums"] = [Event(0.0, 1.0, 60, 0.85, "crash"), *played["drums"]]
        for role, events in played.items():
            for event in events:
                layer = role if role != "drums" else drumming.role_of(event.sound)
                if layer in section.layers and event.start_beats < section.n_bars * frame.bar_beats - 1e-6:
                    tracks[layer].append(replace(event, start_beats=offset + event.start_beats))
    return {role: _feel(events, frame, amount, stream(seed, f"feel {role}")) for role, events in sorted(tracks.items())}


def _with_fill(events: list[Event], frame: Frame, section: Section, rng: np.random.Generator) -> list[Event]:
    last = (section.n_bars - 1) * frame.bar_beats
    fill, replaced = drumming.draw_fill(frame, rng)
    kept = [e for e in events if e.start_beats < last - 1e-6 or e.sound not in replaced]
    return kept + [replace(e, start_beats=e.start_beats + last) for e in fill]


def _feel(events: list[Event], frame: Frame, amount: float, rng: np.random.Generator) -> list[Event]:
    """Swing, then a hand's unevenness, then nothing before the start or after the end."""
    spread = frame.style.human_ms / 1000 * frame.bpm / 60
    out = []
    for event in events:
        start = swing(event.start_beats, amount, frame.style.swing_step) if frame.metre in ("4/4", "5/4", "3/4") else event.start_beats
        velocity = event.velocity
        if spread:
            start += float(np.clip(rng.normal(0, spread), -2 * spread, 2 * spread))
            velocity = float(np.clip(velocity * rng.normal(1, 0.06), 0.05, 1))
        if start < frame.n_beats - 0.02:
            length = min(event.duration_beats, frame.n_beats - start)
            out.append(replace(event, start_beats=round(max(0.0, start), 6), velocity=round(velocity, 3), duration_beats=round(length, 4)))
    return sorted(out, key=lambda e: (e.start_beats, e.pitch, e.sound))


def _bar_chords(frame: Frame, spans: list[Span], bar: int) -> list[str]:
    start, stop = bar * frame.bar_beats, (bar + 1) * frame.bar_beats
    return [s.chord.name for s in spans if s.start_beats < stop - 1e-6 and s.stop_beats > start + 1e-6]
