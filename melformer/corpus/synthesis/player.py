"""One part played into a buffer: notes to sounds, each distinct sound made once and placed to the sample."""

from collections.abc import Callable

import numpy as np

from melformer.audio.grid import BeatGrid, beats_per_second, seconds_per_beat
from melformer.corpus.passage import Event, Part
from melformer.corpus.synthesis import samples, soundfont
from melformer.corpus.synthesis.drums import SYNTHS
from melformer.corpus.synthesis.noises import NOISES
from melformer.corpus.synthesis.voices import VOICES, Note
from melformer.corpus.synthesis.wavetable import Floats

_LEVELS = 12
_CHOKE = 64
_CHOKED = {"hat", "open", "pedal"}


def onset_sample(event: Event, bpm: float, sample_rate: int) -> int:
    """The sample at which an event begins: its beat, rounded once, never summed."""
    return BeatGrid(bpm, sample_rate).edge(event.start_beats)


def play(part: Part, bpm: float, n_samples: int, sample_rate: int) -> Floats:
    """The part alone, float32 (1 or 2, n_samples), before any effect; sounds past the end are cut off."""
    make = _maker(part, bpm, sample_rate)
    made: dict[tuple, Floats] = {}
    buffer = np.zeros((1, n_samples), np.float32)
    ends = _ends(part, bpm, sample_rate)
    alike = _only_louder(part)
    for i, event in enumerate(part.events):
        key, gain, level = _sound_key(event, bpm, sample_rate, alike)
        if key not in made:
            made[key] = np.atleast_2d(make(event, level)).astype(np.float32, copy=False)
        start = onset_sample(event, bpm, sample_rate)
        if start < n_samples:
            buffer = _add(buffer, made[key], start, gain, ends.get(i))
    return buffer


def _add(buffer: Floats, sound: Floats, start: int, gain: float, end: int | None) -> Floats:
    if len(sound) > len(buffer):
        buffer = np.repeat(buffer, 2, axis=0)
    last = buffer.shape[1] if end is None else min(buffer.shape[1], end + _CHOKE)
    stop = min(last, start + sound.shape[1])
    piece = np.float32(gain) * sound[:, : stop - start]
    if end is not None and stop == end + _CHOKE:  # choked: a short fade instead of a cut
        fade = min(_CHOKE, piece.shape[1])
        piece[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    buffer[:, start:stop] += piece
    return buffer


def _sound_key(event: Event, bpm: float, sample_rate: int, alike: bool) -> tuple[tuple, float, float]:
    """What makes two events the same sound, the gain between the velocity asked and the one made, and the latter."""
    step = _LEVELS if alike else max(1, round(event.velocity * _LEVELS))
    held = round(event.duration_beats * seconds_per_beat(bpm) * sample_rate / 256)
    level = step / _LEVELS
    return (event.sound, event.pitch, step, held, round(event.bend, 2)), event.velocity / level, level


def _only_louder(part: Part) -> bool:
    """Whether velocity is loudness and nothing else, so that one sound does for all velocities."""
    still = part.instrument == "subtractive" and not part.params.get("f_amount", 2.0)
    return still or part.instrument in ("pad", "bass808")


def _ends(part: Part, bpm: float, sample_rate: int) -> dict[int, int]:
    """Where a sound is cut by the next one of its group: open hats by closed ones, mono basses by themselves."""
    if part.instrument != "drums" and not part.params.get("mono"):
        return {}
    ends: dict[int, int] = {}
    last = None
    for i in sorted(range(len(part.events)), key=lambda j: part.events[j].start_beats):
        if part.instrument == "drums" and part.events[i].sound not in _CHOKED:
            continue
        start = onset_sample(part.events[i], bpm, sample_rate)
        if last is not None and start > onset_sample(part.events[last], bpm, sample_rate):
            ends[last] = start
        last = i
    return ends


def _maker(part: Part, bpm: float, sample_rate: int) -> Callable[[Event, float], Floats]:
    """How this part turns an event into sound."""
    params = dict(part.params)
    if params.get("wobble_beats"):
        params["wobble_hz"] = beats_per_second(bpm) / params["wobble_beats"]

    def make(event: Event, level: float) -> Floats:
        n_held = max(64, 256 * round(event.duration_beats * seconds_per_beat(bpm) * sample_rate / 256))
        if part.instrument == "drums":
            return _hit(event, params["kit"][event.sound], level, sample_rate)
        if part.instrument == "noises":
            return NOISES[event.sound](n_held, sample_rate, params) * level
        voice = soundfont.gm if part.instrument == "gm" else VOICES[part.instrument]
        return voice(Note(event.pitch, n_held, level, sample_rate, event.bend), params)

    return make


def _hit(event: Event, settings: dict, level: float, sample_rate: int) -> Floats:
    """A drum: synthesised, a recorded one-shot, or a soundfont's."""
    if "synth" in settings:
        return SYNTHS[settings["synth"]](settings, level, sample_rate)
    if "preset" in settings:
        n = int(settings.get("length", 0.9) * sample_rate)
        asked = (level, sample_rate, 128, settings["preset"], settings.get("font", ""))
        return 2.0 * soundfont.play_note(settings["key"], n, n // 3, *asked)
    sound = samples.load(settings["sample"], sample_rate)
    ratio = settings.get("tune", 1.0) * 2.0 ** ((event.pitch - 60) / 12)
    if ratio != 1.0:
        places = np.arange(0, len(sound) - 1, ratio)
        sound = np.interp(places, np.arange(len(sound)), sound).astype(np.float32)
    n = min(len(sound), int(settings.get("length", 2.0) * sample_rate))
    fade = np.minimum(1.0, (n - np.arange(n, dtype=np.float32)) / (0.02 * sample_rate + 1))
    return sound[:n] * fade * np.float32(level)
