"""Drum kits: every drum name of the pattern language, set by family and drawn afresh each time."""

from typing import Any

import numpy as np

from melformer.corpus.synthesis import samples
from melformer.corpus.synthesis.patches import draw
from melformer.corpus.synthesis.soundfont import DRUM_KEYS

Kit = dict[str, dict[str, Any]]

_BASE: Kit = {
    "kick": {"synth": "kick", "high": (160.0, 420.0), "low": (42.0, 58.0), "tau": (0.015, 0.04), "decay": (0.09, 0.2), "click": (0.1, 0.5), "drive": (1.0, 2.5)},
    "snare": {"synth": "snare", "tone": (150.0, 240.0), "decay": (0.09, 0.2), "band": (500.0, 1500.0), "wires": (0.45, 0.8)},
    "clap": {"synth": "clap", "band": (700.0, 1300.0), "decay": (0.07, 0.18), "loose": (0.7, 1.3)},
    "rim": {"synth": "click", "tone": (1200.0, 2200.0), "second": (1.3, 1.7), "decay": (0.015, 0.04), "drive": (1.0, 3.0)},
    "hat": {"synth": "metal", "decay": (0.02, 0.06), "noise": (0.2, 0.9), "low": (6000.0, 9500.0), "pitch": (0.8, 1.6)},
    "open": {"synth": "metal", "decay": (0.12, 0.35), "noise": (0.2, 0.8), "low": (5500.0, 8500.0), "pitch": (0.8, 1.6)},
    "pedal": {"synth": "metal", "decay": (0.02, 0.05), "noise": 0.7, "low": (5000.0, 8000.0)},
    "ride": {"synth": "metal", "decay": (0.3, 0.6), "noise": (0.1, 0.4), "low": (4500.0, 7000.0), "pitch": (1.2, 2.0), "bell": (400.0, 900.0)},
    "crash": {"synth": "metal", "decay": (0.5, 0.9), "noise": (0.6, 0.9), "low": (3000.0, 5000.0)},
    "tom": {"synth": "tom", "tone": (130.0, 190.0), "decay": (0.12, 0.25), "slap": (0.1, 0.4)},
    "high tom": {"synth": "tom", "tone": (190.0, 260.0), "decay": (0.1, 0.22), "slap": (0.1, 0.4)},
    "floor tom": {"synth": "tom", "tone": (55.0, 75.0), "decay": (0.2, 0.35), "slap": (0.1, 0.4)},
    "low tom": {"synth": "tom", "tone": (70.0, 115.0), "decay": (0.15, 0.3), "slap": (0.1, 0.4)},
    "conga": {"synth": "tom", "tone": (210.0, 320.0), "fall": (1.05, 1.3), "decay": (0.06, 0.16), "slap": (0.3, 0.8)},
    "low conga": {"synth": "tom", "tone": (140.0, 205.0), "fall": (1.05, 1.2), "decay": (0.1, 0.22), "slap": (0.2, 0.6)},
    "clave": {"synth": "click", "tone": (2000.0, 2700.0), "second": 1.02, "decay": (0.02, 0.05)},
    "block": {"synth": "click", "tone": (700.0, 1300.0), "second": (1.5, 1.9), "decay": (0.015, 0.04)},
    "cowbell": {"synth": "click", "tone": (520.0, 600.0), "second": 1.48, "decay": (0.06, 0.14), "drive": 4.0},
    "shaker": {"synth": "shaker", "low": (3500.0, 7000.0), "decay": (0.02, 0.05), "swell": (0.003, 0.012)},
    "brush": {"synth": "shaker", "low": (1200.0, 2500.0), "high": 9000.0, "decay": (0.05, 0.12), "swell": (0.01, 0.03)},
    "snap": {"synth": "clap", "band": (1600.0, 2600.0), "decay": (0.03, 0.07), "loose": 0.4},
    "tambourine": {"synth": "metal", "decay": (0.05, 0.12), "noise": (0.3, 0.6), "low": (5000.0, 7000.0), "pitch": (1.5, 2.2)},
    "cabasa": {"synth": "shaker", "low": (4000.0, 6500.0), "decay": (0.015, 0.03), "swell": (0.002, 0.006)},
    "bongo": {"synth": "tom", "tone": (330.0, 430.0), "fall": (1.05, 1.2), "decay": (0.04, 0.09), "slap": (0.4, 0.8)},
    "low bongo": {"synth": "tom", "tone": (230.0, 310.0), "fall": (1.05, 1.2), "decay": (0.05, 0.11), "slap": (0.3, 0.7)},
    "agogo": {"synth": "click", "tone": (880.0, 1000.0), "second": 1.6, "decay": (0.08, 0.14)},
    "low agogo": {"synth": "click", "tone": (620.0, 740.0), "second": 1.6, "decay": (0.08, 0.14)},
    "triangle": {"synth": "click", "tone": (3800.0, 4600.0), "second": 1.47, "decay": (0.1, 0.4), "drive": 0.5},
    "timbale": {"synth": "tom", "tone": (260.0, 340.0), "fall": (1.1, 1.4), "decay": (0.08, 0.16), "slap": (0.6, 1.0)},
    "surdo": {"synth": "tom", "tone": (62.0, 80.0), "fall": (1.2, 1.6), "decay": (0.2, 0.4), "slap": (0.05, 0.2)},
    "noise": {"synth": "shaker", "low": (800.0, 6000.0), "high": 16_000.0, "decay": (0.03, 0.2), "swell": 0.001},
}  # fmt: skip

DRUM_SOUNDS = tuple(sorted(_BASE))
"""Every drum that a pattern, a kit or a note may name."""

_FAMILIES: dict[str, Kit] = {
    "909": {},
    "808": {
        "kick": {"synth": "kick", "high": (110.0, 180.0), "low": (40.0, 52.0), "tau": (0.02, 0.05), "decay": (0.2, 0.45), "click": (0.05, 0.2), "drive": (1.0, 2.0)},
        "snare": {"synth": "snare", "tone": (170.0, 230.0), "decay": (0.07, 0.14), "band": (1000.0, 2500.0), "wires": (0.5, 0.7)},
        "hat": {"synth": "metal", "decay": (0.015, 0.035), "noise": (0.0, 0.3), "low": (7000.0, 10_000.0), "pitch": (1.0, 1.5)},
    },
    "acoustic": {
        "kick": {"synth": "kick", "high": (110.0, 170.0), "low": (52.0, 72.0), "tau": (0.01, 0.02), "decay": (0.07, 0.13), "click": (0.3, 0.8), "drive": (1.0, 1.6)},
        "snare": {"synth": "snare", "tone": (170.0, 260.0), "decay": (0.1, 0.2), "band": (700.0, 1400.0), "wires": (0.5, 0.7)},
        "hat": {"synth": "metal", "decay": (0.03, 0.06), "noise": (0.6, 0.95), "low": (5000.0, 8000.0)},
    },
    "tabla": {
        "conga": {"synth": "tom", "tone": (280.0, 420.0), "fall": (1.02, 1.1), "decay": (0.1, 0.3), "slap": (0.3, 0.8)},
        "low conga": {"synth": "tom", "tone": (75.0, 120.0), "fall": (0.75, 0.95), "decay": (0.2, 0.4), "slap": (0.1, 0.4)},
    },
    "glitch": {
        "kick": {"synth": "kick", "high": (90.0, 500.0), "low": (42.0, 70.0), "tau": (0.005, 0.04), "decay": (0.05, 0.2), "click": (0.2, 0.9), "drive": (1.0, 4.0)},
        "hat": {"synth": "shaker", "low": (5000.0, 9000.0), "high": 16_000.0, "decay": (0.006, 0.02), "swell": 0.0005},
        "noise": {"synth": "click", "tone": (300.0, 4000.0), "second": (1.05, 3.1), "decay": (0.005, 0.06), "drive": (1.0, 6.0)},
    },
    "brushes": {
        "kick": {"synth": "kick", "high": (90.0, 130.0), "low": (55.0, 75.0), "tau": (0.01, 0.02), "decay": (0.08, 0.14), "click": (0.1, 0.3), "drive": 1.0},
        "snare": {"synth": "shaker", "low": (900.0, 1800.0), "high": 8000.0, "decay": (0.06, 0.12), "swell": (0.004, 0.012)},
    },
    "hard": {
        "kick": {"synth": "kick", "high": (250.0, 700.0), "low": (45.0, 60.0), "tau": (0.02, 0.05), "decay": (0.14, 0.3), "click": (0.2, 0.7), "drive": (2.5, 6.0)},
        "snare": {"synth": "snare", "tone": (180.0, 280.0), "decay": (0.12, 0.28), "band": (600.0, 1200.0), "wires": (0.5, 0.8)},
    },
}  # fmt: skip

# Which one-shots may stand in for a drum; only those that are installed are used.
_SAMPLED = {
    "kick": {"909": "bd_haus bd_klub bd_tek bd_fat bd_gas bd_zum bd_ada", "808": "bd_808 bd_boom bd_sone", "acoustic": "drum_heavy_kick drum_bass_hard drum_bass_soft bd_pure", "hard": "bd_tek bd_klub bd_zome bd_mehackit bd_gas", "glitch": "elec_hollow_kick elec_soft_kick bd_mehackit bd_ada bd_zum bd_fat"},
    "snare": {"909": "sn_dolf sn_generic sn_zome elec_hi_snare", "808": "elec_snare elec_mid_snare sn_generic sn_dub", "acoustic": "drum_snare_hard drum_snare_soft sn_dub sn_generic", "hard": "sn_zome elec_lo_snare sn_dolf", "glitch": "elec_filt_snare elec_snare elec_hi_snare perc_snap sn_generic perc_impact2"},
    "hat": {"glitch": "elec_tick elec_pop elec_twip drum_cymbal_closed", "acoustic": "drum_cymbal_closed drum_cymbal_pedal", "909": "drum_cymbal_closed elec_tick", "hard": "drum_cymbal_closed"},
    "open": {"acoustic": "drum_cymbal_open", "909": "drum_cymbal_open elec_cymbal"},
    "crash": {"acoustic": "drum_splash_hard drum_splash_soft drum_cymbal_hard", "909": "drum_splash_hard drum_cymbal_hard", "hard": "drum_cymbal_hard"},
    "ride": {"acoustic": "drum_cymbal_soft drum_cymbal_hard"},
    "tom": {"acoustic": "drum_tom_hi_hard drum_tom_mid_hard drum_tom_mid_soft", "hard": "elec_fuzz_tom"},
    "high tom": {"acoustic": "drum_tom_hi_hard drum_tom_hi_soft"},
    "floor tom": {"acoustic": "drum_tom_lo_hard drum_tom_lo_soft"},
    "low tom": {"acoustic": "drum_tom_lo_hard drum_tom_lo_soft"},
    "cowbell": {"acoustic": "drum_cowbell", "909": "drum_cowbell"},
    "snap": {"808": "perc_snap perc_snap2", "909": "perc_snap perc_snap2"},
    "block": {"glitch": "elec_wood elec_pop elec_flip elec_bell elec_beep elec_triangle", "909": "elec_wood elec_tick elec_pop", "hard": "elec_twip elec_plip"},
    "conga": {"tabla": "tabla_na tabla_na_o tabla_tas1 tabla_tas3 tabla_tun1", "909": "tabla_na tabla_te1 tabla_tas1", "acoustic": "tabla_na_o tabla_tun1 tabla_te2"},
    "low conga": {"tabla": "tabla_ghe1 tabla_ghe3 tabla_ghe4 tabla_ghe5 tabla_ghe7 tabla_ghe8", "909": "tabla_ghe1 tabla_ghe4", "acoustic": "tabla_ghe8 tabla_ghe1"},
    "bongo": {"tabla": "tabla_te1 tabla_te2 tabla_na_s tabla_ke1 tabla_re"},
    "low bongo": {"tabla": "tabla_te_m tabla_te_ne tabla_dhec tabla_ghe8"},
    "rim": {"glitch": "elec_tick elec_twip elec_plip elec_pop perc_snap2", "909": "elec_wood"},
    "noise": {"glitch": "elec_blip elec_blip2 elec_bong elec_flip elec_ping elec_plip elec_twang glitch_perc1 glitch_perc2 glitch_perc3 glitch_perc4 glitch_perc5 mehackit_robot1 mehackit_robot3 mehackit_robot5 mehackit_phone1 mehackit_phone3 perc_door perc_till perc_swash", "hard": "perc_impact1 perc_impact2 elec_flip elec_blip2 mehackit_robot7", "909": "elec_blip elec_ping elec_plip perc_swash"},
}  # fmt: skip


# Kits of a General MIDI soundfont that suit a family.
_FONT_KITS = {
    "909": (24, 25),
    "808": (25,),
    "acoustic": (0, 8, 16),
    "hard": (16, 24),
    "brushes": (32, 40),
    "tabla": (0, 48),
    "glitch": (24, 25),
}


def draw_kit(family: str, used: set[str], rng: np.random.Generator, material: frozenset[str]) -> Kit:
    """Settings for the drums in `used`: synthesised, or recorded one-shots and soundfont drums if in `material`.

    A kit is mostly of one kind; a few drums stray.
    """
    installed = set(samples.names()) if "one-shots" in material else set()
    font_kit = int(rng.choice(_FONT_KITS[family]))
    weights = {
        "909": (0.5, 0.4, 0.1),
        "808": (0.6, 0.3, 0.1),
        "hard": (0.55, 0.4, 0.05),
        "tabla": (0.1, 0.8, 0.1),
        "glitch": (0.25, 0.75, 0.0),
    }.get(family, (0.2, 0.25, 0.55))
    main = str(rng.choice(["synth", "sample", "font"], p=weights))
    kit: Kit = {}
    for name in sorted(used):
        settings = draw({**_BASE[name], **_FAMILIES[family].get(name, {})}, rng)
        settings["seed"] = int(rng.integers(1 << 16))
        kind = main if rng.random() < 0.75 else str(rng.choice(["synth", "sample", "font"]))
        fitting = [s for s in _SAMPLED.get(name, {}).get(family, "").split() if s in installed]
        length = {"crash": 2.0, "ride": 1.6, "open": 1.0, "kick": 0.9, "low conga": 1.2}.get(name, 0.7)
        tune = round(float(2 ** rng.uniform(-0.2, 0.2)), 4)
        if kind == "sample" and fitting:
            settings = {"sample": str(rng.choice(fitting)), "tune": tune, "length": length}
        elif kind == "font" and "soundfont" in material and name in DRUM_KEYS:
            settings = {"preset": font_kit, "key": DRUM_KEYS[name], "length": length}
        kit[name] = settings
    return kit


def one_shots(kit: Kit) -> list[str]:
    """Names of the recorded one-shots a kit uses."""
    return sorted({s["sample"] for s in kit.values() if "sample" in s})
