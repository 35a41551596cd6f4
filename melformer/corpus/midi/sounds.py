"""What a General MIDI drum key or program is in the engine: its drums' names, its own voices of the same family."""

import numpy as np

from melformer.corpus.composition.frame import pick
from melformer.corpus.synthesis.patches import Recipe, draw_sound

# Drum keys 27 to 87 by the engine's drum; other keys are blocks.
_KEYS = {
    "kick": (35, 36), "snare": (38, 40), "clap": (39,), "rim": (31, 32, 33, 37), "snap": (28,), "hat": (42,),
    "pedal": (44,), "open": (46,), "ride": (51, 53, 59), "crash": (49, 52, 55, 57), "high tom": (50,), "tom": (47, 48),
    "low tom": (43, 45), "floor tom": (41,), "tambourine": (54,), "cowbell": (56,), "cabasa": (58, 69, 73, 74),
    "bongo": (60,), "low bongo": (61,), "conga": (62, 63), "low conga": (64, 78, 79), "timbale": (65, 66),
    "agogo": (67,), "low agogo": (68,), "shaker": (70, 82), "clave": (75,), "triangle": (34, 71, 72, 80, 81, 83, 84),
    "surdo": (86, 87), "noise": (27, 29, 30),
}  # fmt: skip
DRUMS = {key: sound for sound, keys in _KEYS.items() for key in keys}
OTHER_DRUM = "block"

# Our own voices for each family of eight programs.
_FAMILIES: tuple[tuple[str, ...], ...] = (
    ("piano", "epiano", "dx keys"),
    ("bell", "vibes", "marimba", "kalimba", "fm bell"),
    ("organ", "house organ"),
    ("guitar", "nylon", "saw stab", "synth pluck"),
    ("finger bass", "slap bass", "upright", "saw bass", "sub bass", "fm bass", "reese", "acid", "808"),
    ("strings", "soft lead", "nylon"),
    ("strings", "warm pad", "hollow pad"),
    ("brass", "saw lead"),
    ("saw lead", "soft lead", "square lead"),
    ("soft lead", "chip triangle"),
    ("saw lead", "square lead", "chip pulse", "supersaw"),
    ("warm pad", "hollow pad", "strings"),
    ("hollow pad", "fm bell", "bell"),
    ("guitar", "nylon", "kalimba", "synth pluck"),
    ("marimba", "kalimba", "synth pluck", "fm bell"),
    ("hollow pad", "fm bell"),
)  # fmt: skip
_DISTORTED = ("saw stab", "supersaw", "guitar", "saw lead")
_RELEASE_S = (0.3, 0.4, 0.08, 0.15, 0.08, 0.25, 0.4, 0.12, 0.12, 0.12, 0.12, 0.6, 0.5, 0.2, 0.3, 0.5)
# Chances that a player keeps its program, takes another of the family, or takes a voice of ours.
_KEEP, _RELATED = 0.45, 0.2


def draw_player_sound(program: int, chords: bool, font: str | None, rng: np.random.Generator) -> Recipe:
    """An instrument and its settings for a program: of the soundfont `font`, where there is one, or our own.

    `chords` says that several notes sound at once, so that a voice may not cut itself off.
    """
    family = program // 8
    draw = rng.random()
    if font is not None and draw < _KEEP + _RELATED:
        preset = program if draw < _KEEP else 8 * family + int(rng.integers(8))
        mono = int(family == 4 and not chords)
        return "gm", {"preset": preset, "release": _RELEASE_S[family], "mono": mono, "font": font}
    names = _DISTORTED if program in (29, 30, 31) else _FAMILIES[family]
    instrument, params = draw_sound(str(pick(rng, names)), rng, with_font=False)
    return instrument, ({**params, "mono": 0} if chords else params)
