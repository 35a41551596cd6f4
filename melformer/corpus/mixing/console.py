"""The mixing desk: instruments, levels, places, effects and moves for the tracks of a passage."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from melformer.corpus.composition.form import Plan
from melformer.corpus.composition.frame import Frame, pick
from melformer.corpus.passage import Event, Part, Passage, Sweep
from melformer.corpus.styles.style import Style
from melformer.corpus.synthesis.kits import draw_kit
from melformer.corpus.synthesis.patches import Recipe, draw_sound
from melformer.corpus.theory.harmony import NOTE_NAMES

# Level in dB (peak for drums, loud RMS for the rest), how far it may be moved, pan width, high-pass in Hz.
_CHANNELS = {
    "kick": (-5.0, 2.0, 0.0, 0.0), "snare": (-6.5, 2.5, 0.15, 90.0), "hats": (-14.0, 4.0, 0.45, 300.0),
    "perc": (-12.0, 4.0, 0.75, 60.0), "bass": (-14.5, 3.0, 0.05, 28.0), "comp": (-17.5, 3.5, 0.6, 120.0),
    "pad": (-21.5, 4.0, 0.2, 160.0), "arp": (-19.5, 3.5, 0.7, 180.0), "lead": (-16.5, 3.0, 0.4, 160.0),
    "fx": (-24.0, 4.0, 0.0, 0.0),
}  # fmt: skip
_DRUMS = ("kick", "snare", "hats", "perc")
_WETTER = {"hats": 0.4, "pad": 1.5, "lead": 1.4, "fx": 1.5}
Streams = Callable[[str], np.random.Generator]


def set_up(
    seed: int, frame: Frame, plan: Plan, tracks: dict[str, list[Event]], chords: list[list[str]], kinds: frozenset[str],
    stream: Streams,
) -> Passage:  # fmt: skip
    """Dress the tracks as parts and set the master; see `Passage` for what comes out."""
    rng = stream("desk")
    raw = bool(rng.random() < 0.12)  # some of it dry and untreated
    breadth = float(pick(stream("breadth"), (1.0, 1.0, 1.0, 1.6, 2.2)))  # how far apart everything stands
    family = str(pick(rng, frame.style.kits))
    master = draw_master(frame.style, raw, rng)
    dressed = (
        _part(role, events, frame.style, family, raw, breadth, kinds, stream(f"part {role}"))
        for role, events in tracks.items()
        if events
    )
    moves = stream("moves")
    parts = tuple(part if raw else _with_moves(part, frame, plan, moves) for part in dressed)
    loop = frame.n_bars <= 8 and bool(rng.random() < 0.5)
    return Passage(seed, frame.style.name, frame.bpm, frame.metre, frame.bar_beats, frame.n_beats, NOTE_NAMES[frame.tonic],
                   frame.mode, chords, plan.sections, parts, loop, master, plan.name)  # fmt: skip


def draw_master(style: Style, raw: bool, rng: np.random.Generator) -> dict[str, float]:
    """Settings of the shared effects and the master, as a style has them; `raw` ones leave nearly everything out."""
    alive = bool(rng.random() < 0.15)  # peaks as they were played
    settings = {
        "room_s": float(rng.uniform(*style.room_s)), "room_dark_hz": float(rng.uniform(3000, 10_000)), "room_seed": float(rng.integers(64)),
        "echo_beats": float(pick(rng, (0.75, 0.75, 0.5, 1.0, 0.3333333, 0.6666667, 0.25, 0.375, 1.5, 2.0))), "echo_feedback": float(rng.uniform(0.2, 0.6)),
        "pump_beats": float(pick(rng, (0.25, 0.4, 0.5, 0.75))), "rms_db": float(rng.uniform(*style.rms_db)) - float(rng.uniform(0.0, 4.0)) - (4.0 if raw or alive else 0.0),
        "glue": 0.0 if raw or alive else max(0.0, float(rng.uniform(-1.3, 2.0))),
        "drive": 0.0 if raw or alive or rng.random() < 0.4 else max(0.0, float(rng.uniform(*style.drive))),
        "ceiling": float(rng.uniform(0.8, 0.98)), "tilt_db": 0.0 if raw else float(rng.normal(0, 1.8)),
    }  # fmt: skip
    if rng.random() < style.lofi:
        settings["lowpass"] = float(np.exp(rng.uniform(np.log(3500), np.log(9000))))
    elif rng.random() < 0.02:  # from a telephone or a small radio
        settings |= {"lowpass": 3500.0, "highpass": 350.0}
    return {name: round(value, 4) for name, value in settings.items()}


def _part(
    role: str, events: list[Event], style: Style, family: str, raw: bool, breadth: float,
    kinds: frozenset[str], rng: np.random.Generator,
) -> Part:  # fmt: skip
    """One part, its instrument and its channel strip."""
    sound = _instrument(role, events, style, family, kinds, rng)
    return dress(role, role, sound, events, style, raw, breadth, rng)


def dress(
    name: str, role: str, sound: Recipe, events: list[Event], style: Style, raw: bool, breadth: float,
    rng: np.random.Generator,
) -> Part:  # fmt: skip
    """A part of a name and a role, a key of `_CHANNELS`: level, place, sends and strip are drawn for the role.

    `breadth` is how far apart everything stands, 1 as usual.
    """
    level, spread, width, _ = _CHANNELS[role]
    wet = 0.0 if raw or role in ("kick", "bass") else float(rng.uniform(*style.reverb)) * _WETTER.get(role, 1.0)
    echoing = role in ("lead", "arp", "comp", "perc") and rng.random() < 0.4
    echo = float(rng.uniform(0.1, 0.45)) if echoing and not raw else 0.0
    duck = 0.0 if raw or role in (*_DRUMS, "fx") else float(rng.uniform(*style.duck))
    gain = level + float(rng.uniform(-spread, spread))
    pan = min(max(float(rng.uniform(-width, width)) * breadth, -0.95), 0.95)
    strip = _strip(role, style.drive[1], style.lofi, raw, breadth, rng)
    return Part(
        name,
        *sound,
        tuple(events),
        round(gain, 2),
        round(pan, 3),
        round(wet, 3),
        round(echo, 3),
        round(duck, 3),
        strip,
    )


def _instrument(
    role: str, events: list[Event], style: Style, family: str, kinds: frozenset[str], rng: np.random.Generator
) -> Recipe:
    if role in _DRUMS:
        return "drums", {"kit": draw_kit(family, {e.sound for e in events}, rng, kinds)}
    if role == "fx":
        return "noises", {
            "seed": int(rng.integers(1 << 16)),
            "tonal": float(rng.integers(2)),
            "crackles": round(float(rng.uniform(3, 25)), 2),
        }
    return draw_sound(str(pick(rng, getattr(style, f"{role}_sounds"))), rng, "soundfont" in kinds)


def _strip(
    role: str, most_drive: float, lofi: float, raw: bool, breadth: float, rng: np.random.Generator
) -> dict[str, float]:
    """Filters and colour of one channel."""
    highpass = _CHANNELS[role][3]
    strip = {"highpass": highpass} if highpass else {}
    if raw:
        return strip
    if breadth > 1.5 and role in ("comp", "pad", "arp", "lead") and rng.random() < 0.5:  # played twice, left and right
        strip["double_s"] = round(float(rng.uniform(0.008, 0.024)), 5)
    if rng.random() < 0.5:
        strip["tilt_db"] = round(float(rng.normal(0, 2.5)), 2)
    if rng.random() < 0.25:
        strip |= {
            "peak_hz": round(float(np.exp(rng.uniform(np.log(200), np.log(5000)))), 1),
            "peak_db": round(float(rng.uniform(-5, 4)), 2),
        }
    if role in ("bass", "comp", "lead", "snare") and rng.random() < 0.3:
        strip["drive"] = round(float(rng.uniform(0.05, 0.5)) * min(1.0, 3 * most_drive + 0.2), 3)
    if role in ("comp", "kick", "snare") and rng.random() < 0.4 * lofi:
        strip |= {"crush": float(rng.integers(8, 13)), "hold": float(rng.integers(1, 4))}
    if role in ("comp", "arp", "lead", "hats", "perc") and rng.random() < (
        0.35 if role in ("comp", "arp", "lead") else 0.15
    ):
        strip |= {"chorus_s": round(float(rng.uniform(0.0005, 0.003)), 5), "chorus_beats": float(pick(rng, (4, 8, 16)))}
    if role == "pad" and rng.random() < 0.15:
        strip |= {"gate_beats": float(pick(rng, (0.25, 0.5, 0.5))), "gate_open": round(float(rng.uniform(0.4, 0.7)), 3)}
    if role not in ("kick", "bass") and rng.random() < 0.8:
        strip["width"] = round(float(rng.uniform(0.5, 2.0)) * breadth, 3)
    return strip


def _with_moves(part: Part, frame: Frame, plan: Plan, rng: np.random.Generator) -> Part:
    """Filters that open or close over a section, and a pad that swells."""
    sweeps = []
    for section in plan.sections:
        start = float(section.start_bar * frame.bar_beats)
        stop = start + section.n_bars * frame.bar_beats
        low, high = float(np.exp(rng.uniform(np.log(200), np.log(900)))), float(rng.uniform(6000, 14_000))
        draw, rising = float(rng.random()), bool(rng.random() < 0.7)
        if part.name in ("comp", "pad", "arp", "bass", "lead") and draw < 0.5 / (1 + len(plan.sections)):
            ends = (low, high) if rising else (high, low)
            sweeps.append(Sweep("lowpass", start, stop, round(ends[0], 1), round(ends[1], 1)))
        elif part.name in ("kick", "hats", "snare", "perc") and plan.name in ("build", "breakdown") and draw < 0.08:
            sweeps.append(Sweep("highpass", start, stop, 30.0, round(low * 2, 1)))
        elif part.name in ("pad", "comp", "arp") and draw > 0.96:
            sweeps.append(Sweep("gain", start, stop, -14.0, 0.0))
    return replace(part, sweeps=tuple(sweeps))
