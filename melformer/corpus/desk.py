"""The mixing desk: instruments, levels, places, effects and moves for the tracks of a passage."""

from collections.abc import Callable
from typing import Any

import numpy as np

from melformer.corpus.form import Section
from melformer.corpus.frame import Frame, pick
from melformer.corpus.kits import draw_kit
from melformer.corpus.passage import Event, Part, Passage, Sweep
from melformer.corpus.patches import draw_sound

# Level in dB (peak for drums, loud RMS for the rest), how far it may be moved, pan width, high-pass in Hz.
_CHANNELS = {
    "kick": (-4.0, 1.5, 0.0, 0.0), "snare": (-6.0, 2.5, 0.1, 90.0), "hats": (-14.0, 4.0, 0.3, 300.0),
    "perc": (-13.0, 4.0, 0.6, 150.0), "bass": (-13.0, 2.5, 0.0, 28.0), "comp": (-19.0, 3.5, 0.4, 120.0),
    "pad": (-23.0, 4.0, 0.1, 160.0), "arp": (-21.0, 3.5, 0.5, 180.0), "lead": (-18.0, 3.0, 0.25, 160.0),
}  # fmt: skip


def set_up(
    frame: Frame, seed: int, plan: str, form: tuple[Section, ...], tracks: dict[str, list[Event]],
    chords: list[list[str]], key: str, stream: Callable[[int, str], np.random.Generator],
) -> Passage:  # fmt: skip
    """Dress the tracks as parts and set the master; see `Passage` for what comes out."""
    rng = stream(seed, "desk")
    raw = rng.random() < 0.12  # some of it dry and untreated
    master = _draw_master(frame, raw, rng)
    family = str(pick(rng, frame.style.kits))
    parts = []
    for role, events in tracks.items():
        if events:
            parts.append(_part(role, events, frame, family, raw, stream(seed, f"part {role}")))
    if len(form) > 1 and not raw:
        parts = _with_moves(parts, frame, form, plan, stream(seed, "moves"))
    loop = frame.n_bars <= 8 and bool(rng.random() < 0.5)
    return Passage(seed, frame.style.name, float(frame.bpm), frame.metre, frame.bar_beats, frame.n_beats, key, frame.mode,
                   chords, form, tuple(parts), loop, master)  # fmt: skip


def _draw_master(frame: Frame, raw: bool, rng: np.random.Generator) -> dict[str, float]:
    style = frame.style
    lofi = bool(rng.random() < style.lofi)
    settings = {
        "room_s": float(rng.uniform(*style.room_s)), "room_dark_hz": float(rng.uniform(3000, 10_000)), "room_seed": float(rng.integers(12)),
        "echo_beats": float(pick(rng, (0.75, 0.5, 1.0, 0.3333333, 0.25, 1.5))), "echo_feedback": float(rng.uniform(0.2, 0.6)),
        "pump_beats": float(pick(rng, (0.25, 0.4, 0.5, 0.75))), "rms_db": float(rng.uniform(*style.rms_db)) - (6.0 if raw else 0.0),
        "glue": 0.0 if raw else float(rng.uniform(0.0, 2.0)), "drive": 0.0 if raw else max(0.0, float(rng.uniform(*style.drive))),
        "ceiling": float(rng.uniform(0.7, 0.98)),
    }  # fmt: skip
    if lofi:
        settings["lowpass"] = float(np.exp(rng.uniform(np.log(3500), np.log(9000))))
    return {name: round(value, 4) for name, value in settings.items()}


def _part(role: str, events: list[Event], frame: Frame, family: str, raw: bool, rng: np.random.Generator) -> Part:
    style = frame.style
    level, spread, width, highpass = _CHANNELS[role]
    params: dict[str, Any]
    if role in ("kick", "snare", "hats", "perc"):
        instrument, params = "drums", {"kit": draw_kit(family, {e.sound for e in events}, rng)}
    else:
        instrument, params = draw_sound(str(pick(rng, getattr(style, f"{role}_sounds"))), rng)
    effects = {"highpass": highpass} if highpass else {}
    if not raw and role in ("bass", "comp", "lead", "snare") and rng.random() < 0.3:
        effects["drive"] = round(float(rng.uniform(0.05, 0.5)) * min(1.0, 3 * style.drive[1] + 0.2), 3)
    if style.lofi and role in ("comp", "kick", "snare") and rng.random() < 0.4 * style.lofi:
        effects |= {"crush": float(rng.integers(8, 13)), "hold": float(rng.integers(1, 4))}
    wet = 0.0 if raw or role in ("kick", "bass") else float(rng.uniform(*style.reverb)) * {"hats": 0.4, "pad": 1.5, "lead": 1.4}.get(role, 1.0)
    echo = float(rng.uniform(0.1, 0.45)) if not raw and role in ("lead", "arp", "comp", "perc") and rng.random() < 0.4 else 0.0
    duck = float(rng.uniform(*style.duck)) if role in ("bass", "comp", "pad", "arp", "lead") and not raw else 0.0
    return Part(role, instrument, params, tuple(events), round(level + float(rng.uniform(-spread, spread)), 2),
                round(float(rng.uniform(-width, width)), 3), round(wet, 3), round(echo, 3), round(duck, 3), effects)  # fmt: skip


def _with_moves(parts: list[Part], frame: Frame, form: tuple[Section, ...], plan: str, rng: np.random.Generator) -> list[Part]:
    """Open or close filters over a phrase, more so before something new."""
    moved = []
    for part in parts:
        sweeps = []
        if part.name in ("comp", "pad", "arp", "bass", "lead") and rng.random() < 0.3:
            section = form[int(rng.integers(len(form)))]
            start = float(section.start_bar * frame.bar_beats)
            low, high = float(np.exp(rng.uniform(np.log(200), np.log(900)))), float(rng.uniform(6000, 14_000))
            rising = rng.random() < 0.7
            ends = (low, high) if rising else (high, low)
            sweeps.append(Sweep("lowpass", start, start + section.n_bars * frame.bar_beats, round(ends[0], 1), round(ends[1], 1)))
        moved.append(Part(**{**part.__dict__, "sweeps": tuple(sweeps)}))
    return moved
