"""Drum tracks of one phrase from a style's bars: chosen, varied, filled at the end."""

from dataclasses import replace

import numpy as np

from melformer.corpus.composition.frame import Frame, pick
from melformer.corpus.passage import Event
from melformer.corpus.theory.patterns import VELOCITIES, fit_metre, mutate, read_steps

COMMON_FILLS: tuple[dict[str, str], ...] = (
    {"snare": "....X.......X.xx"}, {"snare": "....X...X..X..X."}, {"snare": "....X..xX.xxX.xx"},
    {"snare": "....X...rrrrtttt"}, {"snare": "....X.......tttt"}, {"snare": "X..X..X..X..X.X."},
    {"snare": "gggggggooooxxxxX"}, {"clap": "....X.......XXXX"}, {"clap": "....X..X..X.X.X."},
    {"clap": "....X...X...X.XX"}, {"hat": "x.x.x.x.rrrrtttt"}, {"hat": "xxxxrrrrttttrrrr"},
    {"kick": "X...X...X.X.XXXX"}, {"rim": "x..x..x..x..x.x."}, {"rim": "....x.......x.xx"},
    {"conga": "x.xxx.xxx.xxxxxx"}, {"low conga": "x...x...x.x.xxxx"}, {"block": "x..x..x...x.x..."},
    {"timbale": "........x.xxxxxx"}, {"snare": "....X...X.X.XXXX", "kick": "X..............."},
    {"snare": "....X.........xx", "kick": "X.....X.X.X....."},
    {"kick": "X...X...X.......", "hat": "x.x.x.x........."},
    {"kick": "X...............", "snare": "....X...........", "hat": "x.x.x..........."},
    {"hat": "................", "open": "x...x...x...x..."},
    {"snare": "....X...xx......", "tom": "..........xx....", "low tom": "............xxxx"},
    {"tom": "x..x..x.........", "low tom": "........x..x..x."},
    {"tom": "....xx..xx......", "low tom": "............xx.X"},
    {"low tom": "x..x..x..x..x.x.", "snare": "....X..........."},
    {"snare": "....X...........", "kick": "X.X...X.X.X..XXX"},
    {"ride": "x...x...x...x...", "snare": "....X..g..xg..Xx"},
    {"shaker": "xxxxxxxxxxxxxxxx", "kick": "X..............."},
)  # fmt: skip


ROLES = {
    "kick": "kick", "snare": "snare", "clap": "snare", "rim": "perc", "hat": "hats", "open": "hats", "pedal": "hats",
    "ride": "hats", "crash": "hats", "shaker": "hats", "brush": "hats",
}  # fmt: skip


def role_of(sound: str) -> str:
    """The part that a drum belongs to: kick, snare, hats or perc."""
    return ROLES.get(sound, "perc")


def draw_drums(frame: Frame, rng: np.random.Generator) -> dict[str, list[str]]:
    """For each drum, one bar string for every bar of a phrase (A A A A', A B A C …)."""
    tracks: dict[str, list[str]] = {}
    shape = str(pick(rng, ("AAAA", "AAAB", "ABAB", "ABAC", "AABA")))
    for sound, bars in frame.style.drums.items():
        base = fit_metre(pick(rng, bars), frame.metre)
        if not base:
            continue
        weak = sound in ("kick", "snare", "clap", "tom")
        other = mutate(base, rng, 0.12 if weak else 0.2)
        third = mutate(fit_metre(pick(rng, bars), frame.metre) or base, rng, 0.1)
        choice = {"A": mutate(base, rng, 0.05), "B": other, "C": third}
        tracks[sound] = [choice[shape[i % 4]] for i in range(frame.phrase_bars)]
        if frame.restless:
            tracks[sound] = [mutate(choice[str(pick(rng, "ABC"))], rng, 0.25) for _ in range(frame.phrase_bars)]
    return tracks


def play_drums(tracks: dict[str, list[str]], frame: Frame, rng: np.random.Generator) -> list[Event]:
    """Events of one phrase, straight on the grid."""
    events = []
    for sound, bars in tracks.items():
        tilt = float(rng.uniform(0.9, 1.1))
        for bar, pattern in enumerate(bars):
            events += _hits(sound, pattern, bar * frame.bar_beats, frame.bar_beats, tilt)
    return sorted(events, key=lambda e: (e.start_beats, e.sound))


def _hits(sound: str, pattern: str, offset: float, bar_beats: int, tilt: float) -> list[Event]:
    events = []
    for step in read_steps(pattern, bar_beats):
        strokes = {"r": 2, "t": 3}.get(step.mark, 1)
        length = bar_beats / len(pattern) / strokes
        for stroke in range(strokes):
            velocity = min(1.0, VELOCITIES[step.mark] * tilt * (1 - 0.12 * (strokes - 1 - stroke)))
            events.append(Event(offset + step.start_beats + stroke * length, length, 60, round(velocity, 3), sound))
    return events


def draw_fill(frame: Frame, rng: np.random.Generator) -> tuple[list[Event], set[str]]:
    """A last bar of a phrase: its events from the bar's start, and the drums that it replaces.

    Mostly the style's own; else one of those that every drummer knows, on the drums that the style has.
    """
    own = frame.style.drums.keys() | {drum for fill in frame.style.fills for drum in fill}
    common = [fill for fill in COMMON_FILLS if fill.keys() <= own]
    if not common and not frame.style.fills:
        return [], set()
    fill = pick(rng, frame.style.fills if frame.style.fills and (rng.random() < 0.6 or not common) else common)
    events: list[Event] = []
    for sound, pattern in fill.items():
        hits = _hits(sound, fit_metre(pattern, frame.metre), 0.0, frame.bar_beats, 1.0)
        if sound in ("snare", "tom", "low tom", "clap") and len(hits) > 4:  # rolls grow
            hits = [replace(e, velocity=round(0.45 + 0.55 * i / (len(hits) - 1), 3)) for i, e in enumerate(hits)]
        events += hits
    return events, set(fill)
