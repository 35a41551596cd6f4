"""From a passage to a finished stereo waveform: parts, effects, ducking, sends, master."""

import numpy as np

from melformer.corpus import effects
from melformer.corpus.passage import Part, Passage, Sweep
from melformer.corpus.player import onset_sample, play
from melformer.corpus.wavetable import Floats

_PEAKED = {"kick", "snare", "hats", "perc", "fx"}


def mix(passage: Passage, sample_rate: int, stems: dict[str, Floats] | None = None) -> Floats:
    """Render to float32 (n, 2), n = round(n_beats · 60 / bpm · sample_rate); fill `stems` (part name → dry-in-place) if given."""
    n = round(passage.n_beats * 60.0 / passage.bpm * sample_rate)
    tail = int(min(3.0, 0.5 * passage.duration_s) * sample_rate) if passage.loop else 0
    total, to_room, to_echo = (np.zeros((n + tail, 2), np.float32) for _ in range(3))
    duck = _duck_curve(passage, n + tail, sample_rate)
    for part in passage.parts:
        sound = _channel(part, passage, n + tail, sample_rate, duck)
        total += sound
        if part.reverb:
            to_room += part.reverb * sound
        if part.delay:
            to_echo += part.delay * sound
        if stems is not None:
            stems[part.name] = _fold(sound, n)
    _add_sends(total, to_room, to_echo, passage, sample_rate)
    return _master(_fold(total, n), passage, sample_rate)


def _fold(waveform: Floats, n: int) -> Floats:
    """Bring what rings past the end back to the start, as in a loop."""
    if len(waveform) == n:
        return waveform
    out = waveform[:n].copy()
    rest = waveform[n : 2 * n]
    out[: len(rest)] += rest
    return out


def _channel(part: Part, passage: Passage, n: int, sample_rate: int, duck: Floats | None) -> Floats:
    sound = play(part, passage.bpm, n, sample_rate)
    fx = part.effects
    if fx.get("highpass"):
        sound = effects.filtered(sound, "highpass", fx["highpass"], sample_rate)
    if fx.get("lowpass"):
        sound = effects.filtered(sound, "lowpass", fx["lowpass"], sample_rate)
    sound = sound * _staging(sound, part, sample_rate)
    if fx.get("drive"):
        sound = effects.drive(sound * 2.5, fx["drive"]) / 2.5
    if fx.get("crush"):
        sound = effects.crush(sound, fx["crush"], int(fx.get("hold", 1)))
    for sweep in part.sweeps:
        sound = _apply_sweep(sound, sweep, passage.bpm, sample_rate)
    if part.duck and duck is not None:
        sound = sound * (1 - part.duck * duck)[:, None]
    return _place(sound, part.pan, fx.get("width", 1.0))


def _staging(sound: Floats, part: Part, sample_rate: int) -> float:
    """Gain that brings the part to its level: peak for drums, the loud blocks' RMS for the rest."""
    if part.name in _PEAKED:
        level = float(np.abs(sound).max())
    else:
        block = sample_rate // 20
        whole = sound[: len(sound) // block * block, 0].reshape(-1, block)
        level = float(np.percentile(np.sqrt(np.mean(whole**2, axis=1)), 92)) if len(whole) else 0.0
        level = max(level, 0.12 * float(np.abs(sound).max()))
    return 10 ** (part.gain_db / 20) / level if level > 1e-6 else 0.0


def _place(sound: Floats, pan: float, width: float) -> Floats:
    left, right = np.cos((pan + 1) * np.pi / 4) * np.sqrt(2), np.sin((pan + 1) * np.pi / 4) * np.sqrt(2)
    if sound.shape[1] == 1:
        return sound * np.array([left, right], np.float32)
    middle = sound.mean(axis=1, keepdims=True)
    return (middle + width * (sound - middle)) * np.array([left, right], np.float32)


def _apply_sweep(sound: Floats, sweep: Sweep, bpm: float, sample_rate: int) -> Floats:
    start, stop = (round(b * 60.0 / bpm * sample_rate) for b in (sweep.start_beats, sweep.stop_beats))
    start, stop = min(start, len(sound)), min(stop, len(sound))
    if stop - start < 1024:
        return sound
    out = sound.copy()
    part = sound[start:stop]
    if sweep.kind == "gain":
        ramp = np.linspace(sweep.start_value, sweep.stop_value, len(part), dtype=np.float32)
        out[start:stop] = part * (10 ** (ramp / 20))[:, None]
    else:
        cutoffs = np.geomspace(sweep.start_value, sweep.stop_value, -(-len(part) // 512))
        out[start:stop] = effects.swept(part, sweep.kind, cutoffs, sample_rate)
    return out


def _duck_curve(passage: Passage, n: int, sample_rate: int) -> Floats | None:
    """How far the kick pushes the others down, 0 to 1 a sample: down at once, back within `pump_beats`."""
    kicks = [e for part in passage.parts if part.name == "kick" for e in part.events]
    if not kicks or not any(part.duck for part in passage.parts):
        return None
    length = max(64, int(passage.master.get("pump_beats", 0.45) * 60.0 / passage.bpm * sample_rate))
    shape = (1 - np.linspace(0, 1, length, dtype=np.float32) ** 1.5) * np.minimum(1, np.arange(length) / (0.002 * sample_rate))
    curve = np.zeros(n, np.float32)
    for event in kicks:
        start = onset_sample(event, passage.bpm, sample_rate)
        piece = curve[start : start + length]
        np.maximum(piece, shape[: len(piece)] * min(1.0, event.velocity * 1.2), out=piece)
    return curve


def _add_sends(total: Floats, to_room: Floats, to_echo: Floats, passage: Passage, sample_rate: int) -> None:
    settings = passage.master
    if to_echo.any():
        delay = round(settings["echo_beats"] * 60.0 / passage.bpm * sample_rate)
        wet = effects.filtered(effects.echo(to_echo, delay, settings["echo_feedback"], sample_rate), "highpass", 250.0, sample_rate, 1)
        total += wet
        to_room += 0.3 * wet
    if to_room.any():
        response = effects.room(settings["room_s"], settings["room_dark_hz"], sample_rate, int(settings["room_seed"]))
        total += effects.reverb(to_room, response)


def _master(total: Floats, passage: Passage, sample_rate: int) -> Floats:
    settings = passage.master
    total = effects.filtered(total, "highpass", 24.0, sample_rate)
    if settings.get("lowpass"):
        total = effects.filtered(total, "lowpass", settings["lowpass"], sample_rate)
    loud = float(np.sqrt(np.mean(total**2))) or 1.0
    total = total * np.float32(10 ** (settings["rms_db"] / 20) / loud)
    if settings.get("glue"):
        total = effects.compress(total, settings["rms_db"] + 3.0, 1 + settings["glue"], sample_rate)
    if settings.get("drive"):
        total = effects.drive(total, settings["drive"])
        total = total * np.float32(10 ** (settings["rms_db"] / 20) / (float(np.sqrt(np.mean(total**2))) or 1.0))
    return effects.limit(total, settings.get("ceiling", 0.97), sample_rate)
