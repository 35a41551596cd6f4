"""From a passage to a finished stereo mix: parts, effects, ducking, sends, master.

Arrays in here are (n_channels, n_samples), so that filters run along memory.
"""

from collections.abc import Sequence

import numpy as np
from scipy.signal import sosfilt

from melformer.audio.grid import BeatGrid, beats_per_second, seconds_per_beat
from melformer.audio.io import Waveform
from melformer.corpus.mixing import effects
from melformer.corpus.passage import Part, Passage, Sweep, stem_of
from melformer.corpus.synthesis.player import onset_sample, play
from melformer.corpus.synthesis.wavetable import Floats
from melformer.stems import STEMS

_PEAKED = {"kick", "snare", "hats", "perc"}


def render(passage: Passage, sample_rate: int = 44_100) -> Waveform:
    """The finished mix, stereo, whole beats of the passage's grid."""
    linear = _tone_of_master(_mix(passage, sample_rate), passage, sample_rate)
    return _finished(linear * _gain_of_master(linear, passage, sample_rate), sample_rate)


def render_stems(passage: Passage, sample_rate: int = 44_100) -> tuple[Waveform, dict[str, Waveform]]:
    """The finished mix and its stems, "drums", "bass" and "other", that add up to it within 1e-4.

    Echo and room are linear, so each stem has sends of its own. The master's compressor, drive and limiter follow the
    whole mix; each stem is multiplied by the gain that they gave the mix, sample by sample.
    """
    stems = _stems(passage, sample_rate)
    linear = {name: _tone_of_master(stem, passage, sample_rate) for name, stem in stems.items()}
    total = np.sum(list(linear.values()), axis=0)
    gain = _gain_of_master(total, passage, sample_rate)
    finished = {name: _finished(stem * gain, sample_rate) for name, stem in linear.items()}
    return _finished(total * gain, sample_rate), finished


def _stems(passage: Passage, sample_rate: int) -> dict[str, Floats]:
    """The stems before the master, each with its own echo and room, (2, n)."""
    n = BeatGrid(passage.bpm, sample_rate).edge(passage.n_beats)
    tail = int(min(3.0, 0.5 * passage.duration_s) * sample_rate) if passage.loop else 0
    duck = _duck_curve(passage, n + tail, sample_rate)
    stems = {}
    for name in STEMS:
        parts = [part for part in passage.parts if stem_of(part) == name]
        stems[name] = _fold(_mix_parts(parts, passage, n + tail, sample_rate, duck), n)
    return stems


def _mix(passage: Passage, sample_rate: int) -> Floats:
    """The mix before the master, (2, n)."""
    n = BeatGrid(passage.bpm, sample_rate).edge(passage.n_beats)
    tail = int(min(3.0, 0.5 * passage.duration_s) * sample_rate) if passage.loop else 0
    duck = _duck_curve(passage, n + tail, sample_rate)
    return _fold(_mix_parts(passage.parts, passage, n + tail, sample_rate, duck), n)


def _mix_parts(parts: Sequence[Part], passage: Passage, n: int, sample_rate: int, duck: Floats | None) -> Floats:
    """Some parts with their echo and room, (2, n)."""
    total = np.zeros((2, n), np.float32)
    to_room, to_echo = np.zeros(n, np.float32), np.zeros(n, np.float32)
    for part in parts:
        sound = _channel(part, passage, n, sample_rate, duck)
        total += sound
        if part.reverb:
            to_room += np.float32(part.reverb) * effects.middle(sound)
        if part.delay:
            to_echo += np.float32(part.delay) * effects.middle(sound)
    _add_sends(total, to_room, to_echo, passage, sample_rate)
    return total


def _finished(waveform: Floats, sample_rate: int) -> Waveform:
    return Waveform(waveform.T, sample_rate)


def _fold(waveform: Floats, n: int) -> Floats:
    """Bring what rings past the end back to the start, as in a loop."""
    if waveform.shape[1] == n:
        return waveform
    out = waveform[:, :n].copy()
    rest = waveform[:, n : 2 * n]
    out[:, : rest.shape[1]] += rest
    return out


def _channel(part: Part, passage: Passage, n: int, sample_rate: int, duck: Floats | None) -> Floats:
    """A part through its channel strip, stereo (2, n)."""
    sound = play(part, passage.bpm, n, sample_rate)
    fx = part.effects
    sound = effects.cascaded(sound, _tone(fx, sample_rate))
    if fx.get("drive"):
        sound = effects.drive(sound * _staging(sound, part.name, -8.0, sample_rate), fx["drive"])
    if fx.get("crush"):
        sound = sound * _staging(sound, part.name, -6.0, sample_rate)
        sound = effects.crush(sound, fx["crush"], int(fx.get("hold", 1)))
    if fx.get("chorus_s"):
        sound = effects.chorus(sound, fx["chorus_s"], fx["chorus_beats"] * seconds_per_beat(passage.bpm), sample_rate)
    if fx.get("double_s"):
        sound = effects.doubled(sound, round(fx["double_s"] * sample_rate))
    sound = sound * _staging(sound, part.name, part.gain_db, sample_rate)
    if fx.get("gate_beats"):
        sound = sound * _gate(n, fx["gate_beats"], fx.get("gate_open", 0.5), passage.bpm, sample_rate)
    for sweep in part.sweeps:
        sound = _apply_sweep(sound, sweep, passage.bpm, sample_rate)
    if part.duck and duck is not None:
        sound = sound * (1 - np.float32(part.duck) * duck)
    return _place(sound, part.pan, fx.get("width", 1.0))


def _tone(fx: dict[str, float], sample_rate: int) -> list[Floats]:
    """The filters of a channel strip."""
    sections = [effects.biquad(kind, fx[kind], sample_rate) for kind in ("highpass", "lowpass") if fx.get(kind)]
    if fx.get("tilt_db"):
        sections.append(effects.biquad("highshelf", 2500.0, sample_rate, 0.6, fx["tilt_db"]))
    if fx.get("peak_db"):
        sections.append(effects.biquad("peak", fx["peak_hz"], sample_rate, 0.9, fx["peak_db"]))
    return sections


def _staging(sound: Floats, name: str, level_db: float, sample_rate: int) -> np.float32:
    """Gain that brings a part to a level: peak for drums, the loud blocks' RMS for the rest."""
    peak = max(float(sound.max()), -float(sound.min()))
    level = peak
    if name not in _PEAKED:
        block = sample_rate // 20
        whole = sound[0, : sound.shape[1] // block * block].reshape(-1, block)[:, ::4]
        level = float(np.percentile(np.sqrt(np.mean(whole**2, axis=1)), 92)) if len(whole) else 0.0
        level = max(level, 0.12 * peak)
    return np.float32(10 ** (level_db / 20) / level if level > 1e-6 else 0.0)


def _place(sound: Floats, pan: float, width: float) -> Floats:
    sides = np.sqrt(2) * np.array([[np.cos((pan + 1) * np.pi / 4)], [np.sin((pan + 1) * np.pi / 4)]], np.float32)
    if len(sound) == 1 or width == 1.0:
        return sound * sides.astype(np.float32)
    sides = sides.astype(np.float32)
    own, other = sides * np.float32((1 + width) / 2), sides * np.float32((1 - width) / 2)
    return own * sound + other * sound[::-1]


def _gate(n: int, period_beats: float, share: float, bpm: float, sample_rate: int) -> Floats:
    """A fader opened and closed on the beat grid."""
    turn = (np.arange(n) * (beats_per_second(bpm) / sample_rate / period_beats)) % 1.0
    edge = 0.004 * beats_per_second(bpm) / period_beats
    return np.clip(np.minimum(turn / edge, (share - turn) / edge), 0.06, 1.0).astype(np.float32)


def _apply_sweep(sound: Floats, sweep: Sweep, bpm: float, sample_rate: int) -> Floats:
    edges = (BeatGrid(bpm, sample_rate).edge(beats) for beats in (sweep.start_beats, sweep.stop_beats))
    start, stop = (min(edge, sound.shape[1]) for edge in edges)
    if stop - start < 1024:
        return sound
    out = sound.copy()
    part = sound[:, start:stop]
    if sweep.kind == "gain":
        ramp = np.linspace(sweep.start_value, sweep.stop_value, part.shape[1], dtype=np.float32)
        out[:, start:stop] = part * (10 ** (ramp / 20))
    else:
        cutoffs = np.geomspace(sweep.start_value, sweep.stop_value, -(-part.shape[1] // 512))
        out[:, start:stop] = effects.swept(part, sweep.kind, cutoffs, sample_rate)
    return out


def _duck_curve(passage: Passage, n: int, sample_rate: int) -> Floats | None:
    """How far the kick pushes the others down, 0 to 1 a sample: down at once, back within `pump_beats`."""
    kicks = [e for part in passage.parts if part.name == "kick" for e in part.events]
    if not kicks or not any(part.duck for part in passage.parts):
        return None
    length = max(64, int(passage.master.get("pump_beats", 0.45) * seconds_per_beat(passage.bpm) * sample_rate))
    shape = 1 - np.linspace(0, 1, length, dtype=np.float32) ** 1.5
    shape *= np.minimum(1, np.arange(length) / (0.002 * sample_rate))
    curve = np.zeros(n, np.float32)
    for event in kicks:
        start = onset_sample(event, passage.bpm, sample_rate)
        piece = curve[start : start + length]
        np.maximum(piece, shape[: len(piece)] * min(1.0, event.velocity * 1.2), out=piece)
    return curve


def _add_sends(total: Floats, to_room: Floats, to_echo: Floats, passage: Passage, sample_rate: int) -> None:
    """Mix the shared echo and room into `total`."""
    settings = passage.master
    if to_echo.any():
        delay = BeatGrid(passage.bpm, sample_rate).edge(settings["echo_beats"])
        thin = effects.filtered(to_echo, "highpass", 250.0, sample_rate)
        wet = effects.echo(thin, delay, settings["echo_feedback"], sample_rate)
        total += wet
        to_room += np.float32(0.3) * effects.middle(wet)
    if to_room.any():
        seed = int(settings["room_seed"])
        total += effects.reverb(to_room, settings["room_s"], settings["room_dark_hz"], sample_rate, seed)


def _tone_of_master(total: Floats, passage: Passage, sample_rate: int) -> Floats:
    """The master's filters, which are linear."""
    settings = passage.master
    sections = [effects.biquad("highpass", 24.0, sample_rate)]
    wanted = [kind for kind in ("lowpass", "highpass") if settings.get(kind)]
    sections += [effects.biquad(kind, settings[kind], sample_rate) for kind in wanted]
    if settings.get("tilt_db"):
        sections.append(effects.biquad("highshelf", 4000.0, sample_rate, 0.5, settings["tilt_db"]))
    # In float32 a high-pass at 24 Hz adds rounding noise of 4e-4, which would not be the same in mix and stems.
    return sosfilt(np.concatenate(sections).astype(np.float64), total).astype(np.float32)


def _gain_of_master(total: Floats, passage: Passage, sample_rate: int) -> Floats:
    """Level, glue, drive and limiter as one gain for every sample, (2, n)."""
    settings = passage.master
    gain = np.full_like(total, _to_rms(total, settings["rms_db"]))
    if settings.get("glue"):
        gain *= effects.compressor_gain(total * gain, settings["rms_db"] + 3.0, 1 + settings["glue"], sample_rate)
    if settings.get("drive"):
        gain *= effects.drive_gain(total * gain, settings["drive"])
    gain *= _to_rms(total * gain, settings["rms_db"])
    gain *= effects.limiter_gain(total * gain, settings["ceiling"], sample_rate)
    return gain


def _to_rms(total: Floats, level_db: float) -> np.float32:
    loud = float(np.sqrt(np.mean(total[:, ::3] ** 2)))
    return np.float32(10 ** (level_db / 20) / loud if loud > 1e-6 else 1.0)
