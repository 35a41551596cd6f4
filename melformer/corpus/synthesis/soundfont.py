"""Instruments of a General MIDI soundfont, when one is installed, through tinysoundfont."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from melformer.corpus.synthesis.samples import first_sample
from melformer.corpus.synthesis.voices import Note, Params
from melformer.corpus.synthesis.wavetable import Floats

FONTS = (
    ("/usr/share/sounds/sf2/FluidR3_GM.sf2", "FluidR3 GM (Debian fluid-soundfont-gm)", "MIT"),
    ("/usr/share/sounds/sf3/MuseScore_General.sf3", "MuseScore General (Debian)", "MIT"),
    ("/usr/share/sounds/sf3/FluidR3Mono_GM.sf3", "FluidR3 Mono (Debian)", "MIT"),
)
# General MIDI percussion keys of the pattern language's drums.
DRUM_KEYS = {
    "kick": 36, "snare": 38, "clap": 39, "rim": 37, "hat": 42, "open": 46, "pedal": 44, "ride": 51, "crash": 49,
    "high tom": 50, "tom": 48, "low tom": 43, "floor tom": 41, "conga": 63, "low conga": 64, "clave": 75, "block": 76,
    "cowbell": 56, "shaker": 70, "tambourine": 54, "agogo": 67, "low agogo": 68, "bongo": 60, "low bongo": 61,
    "triangle": 81, "cabasa": 69, "timbale": 65,
}  # fmt: skip
# Recordings in a font begin with up to so much near silence, which is cut.
_LATEST_S = 0.03


@lru_cache(maxsize=1)
def font() -> tuple[str, dict[str, str]] | None:
    """Path and source of the first font found; None without font or library.

    Only fonts whose licence we have read: a folder of the user's own could not be named in the index.
    """
    found = fonts()
    return next(iter(found.values())) if found else None


@lru_cache(maxsize=1)
def fonts() -> dict[str, tuple[str, dict[str, str]]]:
    """Every font found, by the stem of its file: its path and its source; empty without the library."""
    try:
        import tinysoundfont  # noqa: F401
    except ImportError:
        return {}
    there = [(path, name, licence) for path, name, licence in FONTS if Path(path).is_file()]
    return {Path(path).stem: (path, {"name": name, "licence": licence}) for path, name, licence in there}


@lru_cache(maxsize=4)
def _synth(sample_rate: int, name: str) -> tuple[Any, int]:
    """One synthesizer a process, rate and font: a font takes seconds to load and hundreds of megabytes."""
    import tinysoundfont

    found = fonts().get(name) if name else font()
    if found is None:
        raise ValueError(
            f"no soundfont {name}: apt-get install fluid-soundfont-gm; pip install --no-deps tinysoundfont"
        )
    synth = tinysoundfont.Synth(gain=0, samplerate=sample_rate)
    return synth, synth.sfload(found[0])


def play_note(
    key: int, n_held: int, n_release: int, velocity: float, sample_rate: int, bank: int, preset: int,
    font_name: str = "",
) -> Floats:  # fmt: skip
    """One note alone, stereo float32 (2, n_held + n_release), the synthesizer silent before and after.

    `font_name` is a key of `fonts()`; empty takes the first.
    """
    synth, font_id = _synth(sample_rate, font_name)
    synth.program_select(0, font_id, bank, preset, bank == 128)
    n_early = int(_LATEST_S * sample_rate)
    synth.noteon(0, int(key), max(1, min(127, round(velocity * 120))))
    held = _generate(synth, n_held + n_early)
    synth.noteoff(0, int(key))
    rest = _generate(synth, n_release)
    synth.sounds_off()
    for _ in range(64):  # a note that is stopped fades: the next must not hear it
        if not _generate(synth, 2048).any():
            break
    sound = np.concatenate([held, rest], axis=1)
    start = min(n_early, first_sample(held, sample_rate))
    sound = sound[:, start : start + n_held + n_release]
    fade = min(n_release, int(0.02 * sample_rate))
    if fade:
        sound[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return sound


def _generate(synth: Any, n: int) -> Floats:
    if n <= 0:
        return np.zeros((2, 0), np.float32)
    return np.frombuffer(synth.generate(n), np.float32).reshape(-1, 2).T.copy()


def gm(note: Note, p: Params) -> Floats:
    """A pitched General MIDI voice: `p` holds `preset` (0..127), `bank`, `release` in seconds, and `font`, its name."""
    n_release = note.n(p.get("release", 0.25)) - note.n_held
    bank, preset = int(p.get("bank", 0)), int(p["preset"])
    asked = (note.velocity, note.sample_rate, bank, preset, p.get("font", ""))
    sound = play_note(round(note.pitch), note.n_held, n_release, *asked)
    return np.float32(3.0) * sound
