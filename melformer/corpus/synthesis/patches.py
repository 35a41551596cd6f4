"""Named sounds: each draws its own settings, so that no two "saw basses" are quite the same."""

from typing import Any

import numpy as np

Range = tuple[float, float]
Recipe = tuple[str, dict[str, Any]]

# A pair of numbers is a range to draw from (log-scaled above 20), a list is a choice, anything else is kept.
SOUNDS: dict[str, Recipe] = {
    "sub bass": ("subtractive", {"shape": "sine", "cutoff": 9000.0, "f_amount": 0.0, "attack": 0.004, "decay": 1.0, "sustain": (0.7, 1.0), "release": 0.06, "mono": 1}),
    "saw bass": ("subtractive", {"shape": ["saw", "square", "pulse"], "cutoff": (110.0, 500.0), "f_amount": (1.2, 3.6), "f_decay": (0.08, 0.4), "f_sustain": (0.1, 0.5), "resonance": (0.1, 0.6), "sub": (0.2, 0.6), "decay": 0.5, "sustain": (0.5, 0.9), "release": 0.05, "mono": 1}),
    "reese": ("subtractive", {"shape": "saw", "cutoff": (160.0, 700.0), "f_amount": (0.0, 1.0), "unison": 2, "detune": (0.12, 0.35), "resonance": (0.1, 0.3), "sub": (0.3, 0.7), "sustain": 0.95, "release": 0.08, "mono": 1}),
    "wobble": ("subtractive", {"shape": ["saw", "square"], "cutoff": (1200.0, 3500.0), "f_amount": 0.0, "wobble_beats": [0.25, 0.3333333, 0.5, 0.5, 1.0], "wobble_depth": (2.5, 4.5), "resonance": (0.3, 0.7), "sub": 0.5, "sustain": 1.0, "unison": [1, 2], "detune": 0.15, "release": 0.05, "mono": 1}),
    "acid": ("subtractive", {"shape": ["saw", "saw", "square"], "cutoff": (180.0, 600.0), "f_amount": (1.5, 3.5), "f_decay": (0.08, 0.3), "f_sustain": 0.05, "resonance": (0.65, 0.95), "decay": 0.4, "sustain": 0.6, "release": 0.03, "glide_s": 0.06, "mono": 1}),
    "fm bass": ("fm", {"ratio": [0.5, 1.0, 1.0, 2.0], "index": (1.2, 4.0), "i_decay": (0.1, 0.4), "i_sustain": (0.1, 0.4), "decay": 0.9, "sustain": 0.4, "release": 0.06, "mono": 1}),
    "808": ("bass808", {"punch": (8.0, 28.0), "decay": (0.7, 2.2), "drive": (0.7, 3.5), "sustain": 0.08, "mono": 1}),
    "finger bass": ("pluck", {"bright": (0.15, 0.45), "place": (0.2, 0.4), "damping": (0.25, 0.6), "release": 0.07, "mono": 1}),
    "slap bass": ("pluck", {"bright": (0.6, 0.95), "place": (0.06, 0.15), "damping": (0.4, 0.8), "release": 0.05, "mono": 1}),
    "upright": ("pluck", {"bright": (0.05, 0.25), "place": (0.2, 0.35), "damping": (0.6, 1.1), "release": 0.1, "scatter": 0.2, "mono": 1}),
    "organ": ("subtractive", {"shape": "organ", "cutoff": (1500.0, 7000.0), "f_amount": 0.0, "resonance": 0.05, "attack": 0.005, "sustain": 1.0, "release": 0.04}),
    "house organ": ("subtractive", {"shape": ["hollow", "square"], "cutoff": (400.0, 1500.0), "f_amount": (0.5, 1.5), "f_decay": 0.15, "decay": 0.25, "sustain": (0.2, 0.6), "release": 0.07}),
    "epiano": ("fm", {"ratio": 1.0, "index": (0.7, 2.2), "i_decay": (0.3, 0.8), "tine": (0.05, 0.3), "decay": (1.2, 2.6), "release": 0.15}),
    "dx keys": ("fm", {"ratio": [2.0, 3.0, 4.0, 1.0], "index": (0.6, 1.8), "i_decay": (0.2, 0.8), "tine": (0.0, 0.2), "decay": (0.9, 2.0), "release": 0.2}),
    "piano": ("pluck", {"bright": (0.35, 0.75), "place": (0.11, 0.14), "damping": (0.15, 0.4), "release": 0.14, "scatter": 0.5}),
    "guitar": ("pluck", {"bright": (0.4, 0.8), "place": (0.1, 0.3), "damping": (0.3, 0.7), "release": 0.09, "scatter": 0.1}),
    "nylon": ("pluck", {"bright": (0.2, 0.5), "place": (0.15, 0.35), "damping": (0.5, 0.9), "release": 0.12, "scatter": 0.15}),
    "synth pluck": ("subtractive", {"shape": ["saw", "square", "pulse"], "width": (0.1, 0.4), "cutoff": (200.0, 900.0), "f_amount": (2.0, 4.5), "f_decay": (0.08, 0.35), "f_sustain": 0.0, "resonance": (0.1, 0.5), "decay": (0.2, 0.6), "sustain": (0.0, 0.3), "release": 0.12, "unison": [1, 2, 3], "detune": (0.04, 0.12)}),
    "supersaw": ("subtractive", {"shape": "saw", "cutoff": (900.0, 3500.0), "f_amount": (1.0, 2.5), "f_decay": (0.2, 0.8), "f_sustain": (0.3, 0.8), "unison": [5, 6, 7], "detune": (0.12, 0.3), "resonance": 0.1, "decay": 0.5, "sustain": (0.6, 0.95), "release": 0.15}),
    "saw stab": ("subtractive", {"shape": ["saw", "pulse"], "width": (0.15, 0.4), "cutoff": (300.0, 1400.0), "f_amount": (1.5, 3.5), "f_decay": (0.08, 0.3), "f_sustain": (0.0, 0.3), "unison": [2, 3, 4], "detune": (0.06, 0.2), "resonance": (0.1, 0.4), "decay": 0.25, "sustain": (0.1, 0.5), "release": 0.1}),
    "brass": ("subtractive", {"shape": "saw", "cutoff": (400.0, 900.0), "f_amount": (1.5, 2.8), "f_attack": (0.03, 0.07), "f_decay": 0.3, "f_sustain": 0.6, "attack": (0.02, 0.05), "unison": [2, 3], "detune": (0.05, 0.1), "sustain": 0.85, "release": 0.08}),
    "warm pad": ("pad", {"shape": "saw", "spread": (0.002, 0.008), "dark": (500.0, 2200.0), "attack": (0.08, 0.5), "release": (0.3, 0.9), "seed": [1, 2, 3, 4]}),
    "strings": ("pad", {"shape": "saw", "spread": (0.002, 0.004), "dark": (2200.0, 5000.0), "attack": (0.05, 0.2), "release": (0.2, 0.5), "seed": [5, 6, 7]}),
    "hollow pad": ("pad", {"shape": ["square", "triangle", "organ"], "spread": (0.001, 0.006), "dark": (1200.0, 4000.0), "attack": (0.1, 0.6), "release": (0.3, 1.0), "seed": [8, 9]}),
    "bell": ("additive", {"ratios": (1.0, 2.76, 5.4, 8.93), "levels": (1.0, 0.6, 0.3, 0.15), "ring": (0.8, 2.5), "tilt": (0.3, 0.9), "release": 0.5}),
    "vibes": ("additive", {"ratios": (1.0, 4.0, 10.0), "levels": (1.0, 0.3, 0.08), "ring": (1.0, 2.2), "tilt": 1.5, "release": 0.3}),
    "marimba": ("additive", {"ratios": (1.0, 3.93, 9.5), "levels": (1.0, 0.5, 0.15), "ring": (0.25, 0.5), "tilt": 1.5, "release": 0.2}),
    "kalimba": ("additive", {"ratios": (1.0, 5.4, 6.3), "levels": (1.0, 0.25, 0.2), "ring": (0.4, 0.9), "tilt": 2.5, "release": 0.3}),
    "saw lead": ("subtractive", {"shape": "saw", "cutoff": (700.0, 2500.0), "f_amount": (0.8, 2.0), "f_decay": 0.3, "f_sustain": 0.6, "unison": [1, 2, 3], "detune": (0.05, 0.15), "resonance": (0.1, 0.4), "vibrato": (0.0, 0.25), "sustain": 0.85, "release": 0.1}),
    "square lead": ("subtractive", {"shape": ["square", "pulse"], "width": (0.12, 0.45), "cutoff": (900.0, 4000.0), "f_amount": (0.3, 1.5), "vibrato": (0.0, 0.3), "sustain": 0.8, "release": 0.08}),
    "soft lead": ("subtractive", {"shape": ["triangle", "sine", "hollow"], "cutoff": (1200.0, 5000.0), "f_amount": 0.3, "attack": (0.01, 0.05), "vibrato": (0.05, 0.35), "sustain": 0.9, "release": 0.12}),
    "chip triangle": ("subtractive", {"shape": "triangle", "cutoff": 12_000.0, "f_amount": 0.0, "attack": 0.001, "sustain": 1.0, "release": 0.01, "mono": 1}),
    "chip pulse": ("subtractive", {"shape": "pulse", "width": [0.125, 0.25, 0.5], "cutoff": 16_000.0, "f_amount": 0.0, "attack": 0.001, "decay": (0.1, 0.6), "sustain": (0.2, 0.9), "release": 0.015, "vibrato": [0.0, 0.2]}),
    "chip arp": ("subtractive", {"shape": "pulse", "width": [0.125, 0.25], "cutoff": 16_000.0, "f_amount": 0.0, "attack": 0.001, "decay": (0.05, 0.15), "sustain": (0.0, 0.3), "release": 0.01}),
    "fm bell": ("fm", {"ratio": [1.414, 2.76, 3.5, 7.0], "index": (0.8, 2.5), "i_decay": (0.3, 1.2), "decay": (0.8, 2.0), "release": 0.4}),
}  # fmt: skip


# Sounds of a General MIDI soundfont: presets to choose from, release in seconds, what stands in without a font.
FONT_SOUNDS: dict[str, tuple[tuple[int, ...], float, str]] = {
    "grand": ((0, 1), 0.3, "piano"), "ballad piano": ((0, 2), 0.4, "piano"), "tine piano": ((4, 5), 0.25, "epiano"),
    "clavinet": ((7,), 0.08, "guitar"), "harpsichord": ((6,), 0.2, "guitar"), "celesta": ((8, 9, 10), 0.5, "bell"),
    "mallets": ((11, 12, 13), 0.4, "vibes"), "tonewheel": ((16, 17, 18), 0.08, "organ"), "accordion": ((21, 23), 0.12, "organ"),
    "harmonica": ((22,), 0.12, "square lead"), "nylon guitar": ((24,), 0.2, "nylon"), "steel guitar": ((25,), 0.2, "guitar"),
    "jazz guitar": ((26,), 0.15, "guitar"), "clean guitar": ((27,), 0.15, "guitar"), "muted guitar": ((28,), 0.08, "guitar"),
    "crunch guitar": ((29, 30), 0.12, "saw stab"), "double bass": ((32,), 0.1, "upright"), "electric bass": ((33, 34), 0.08, "finger bass"),
    "fretless": ((35,), 0.1, "finger bass"), "slapped bass": ((36, 37), 0.06, "slap bass"), "synth bass": ((38, 39), 0.06, "saw bass"),
    "violins": ((40, 41), 0.2, "soft lead"), "cello": ((42,), 0.2, "soft lead"), "pizzicato": ((45,), 0.2, "nylon"),
    "harp": ((46,), 0.6, "nylon"), "string section": ((48, 49), 0.4, "strings"), "synth strings": ((50, 51), 0.4, "strings"),
    "choir": ((52, 53), 0.4, "hollow pad"), "trumpet": ((56, 59), 0.12, "brass"), "trombone": ((57,), 0.12, "brass"),
    "horns": ((60,), 0.25, "brass"), "brass section": ((61, 62), 0.12, "brass"), "saxophone": ((64, 65, 66), 0.12, "saw lead"),
    "clarinet": ((71,), 0.1, "soft lead"), "oboe": ((68,), 0.1, "soft lead"), "flute": ((73, 75), 0.15, "soft lead"),
    "whistle": ((78, 79), 0.15, "soft lead"), "sitar": ((104,), 0.3, "guitar"), "banjo": ((105,), 0.1, "guitar"),
    "koto": ((107, 106), 0.3, "guitar"), "thumb piano": ((108,), 0.3, "kalimba"), "steel drums": ((114,), 0.3, "marimba"),
    "font pad": ((88, 89, 90, 91, 94, 95), 0.6, "warm pad"), "font lead": ((80, 81, 84, 87), 0.12, "saw lead"),
}  # fmt: skip
_FONT_BASSES = {"double bass", "electric bass", "fretless", "slapped bass", "synth bass"}


def draw(settings: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Fix every range and choice of a recipe; plain JSON values come out."""
    fixed: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, list):
            fixed[name] = value[int(rng.integers(len(value)))]
        elif isinstance(value, tuple) and len(value) == 2:
            low, high = value
            log = low > 20
            drawn = np.exp(rng.uniform(np.log(low), np.log(high))) if log else rng.uniform(low, high)
            fixed[name] = round(float(drawn), 4)
        elif isinstance(value, tuple):
            fixed[name] = list(value)
        else:
            fixed[name] = value
    return fixed


def draw_sound(name: str, rng: np.random.Generator, with_font: bool) -> Recipe:
    """An instrument and its settings for a named sound; a soundfont's has a stand-in when there is no font.

    Errors: KeyError for a name that is in neither table.
    """
    if name in FONT_SOUNDS:
        presets, release, stand_in = FONT_SOUNDS[name]
        if with_font:
            preset = presets[int(rng.integers(len(presets)))]
            return "gm", {"preset": preset, "release": release, "mono": int(name in _FONT_BASSES)}
        name = stand_in
    instrument, settings = SOUNDS[name]
    return instrument, draw(settings, rng)
