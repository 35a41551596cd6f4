"""Drum synthesis: one function a family, each hit a fresh float32 (n,) with its attack at sample 0."""

from functools import lru_cache
from typing import Any

import numpy as np
from scipy.signal import butter, sosfilt

from melformer.corpus.wavetable import Floats, sine


def _band(noise: Floats, low: float, high: float, sample_rate: int, order: int = 2) -> Floats:
    return sosfilt(_sections("bandpass", order, (low, min(high, 0.48 * sample_rate)), sample_rate), noise)


@lru_cache(maxsize=64)
def _sections(kind: str, order: int, hz: float | tuple[float, float], sample_rate: int) -> Floats:
    """A Butterworth filter as second-order sections; to design it takes longer than to filter a hit."""
    return butter(order, hz, kind, fs=sample_rate, output="sos").astype(np.float32)


def _noise(n: int, p: dict[str, Any], velocity: float) -> Floats:
    return np.random.default_rng([p.get("seed", 0), int(velocity * 16)]).standard_normal(n, dtype=np.float32)


def _drop(n: int, sample_rate: int, high: float, low: float, tau: float) -> Floats:
    """A sine that falls from `high` to `low` Hz with time constant `tau` seconds."""
    t = np.arange(n) / sample_rate
    turns = low * t + (high - low) * tau * (1 - np.exp(-t / tau))
    return sine(turns)


def _fade(n: int, sample_rate: int, decay_s: float) -> Floats:
    t = np.arange(n, dtype=np.float32) / sample_rate
    return np.exp(-t / decay_s) * np.minimum(1.0, (n - np.arange(n, dtype=np.float32)) / (0.004 * sample_rate))


def kick(p: dict[str, Any], velocity: float, sample_rate: int) -> Floats:
    """A falling sine with a click, driven."""
    decay = p.get("decay", 0.16)
    n = int(min(1.5, 6 * decay) * sample_rate)
    body = _drop(n, sample_rate, p.get("high", 220.0), p.get("low", 50.0), p.get("tau", 0.03))
    body *= _fade(n, sample_rate, decay)
    click = _noise(n, p, 1.0) * _fade(n, sample_rate, 0.0025) * p.get("click", 0.3) * velocity
    drive = p.get("drive", 1.2)
    return np.tanh(drive * (body + click)) / np.tanh(drive) * velocity


def snare(p: dict[str, Any], velocity: float, sample_rate: int) -> Floats:
    """Two tones of the skin under a band of noise from the wires."""
    decay = p.get("decay", 0.14)
    n = int(min(1.2, 6 * decay) * sample_rate)
    tone = p.get("tone", 185.0)
    body = _drop(n, sample_rate, 1.6 * tone, tone, 0.012) + 0.5 * _drop(n, sample_rate, 2.6 * tone, 1.8 * tone, 0.01)
    wires = _band(_noise(n, p, velocity), p.get("band", 900.0), 11_000.0, sample_rate, 1) * _fade(n, sample_rate, decay)
    snap = _noise(n, p, 1.0) * _fade(n, sample_rate, 0.004) * 0.4 * velocity
    mix = p.get("wires", 0.6)
    wave = (1 - mix) * body * _fade(n, sample_rate, decay * 0.55) + mix * 1.2 * wires + snap
    return np.tanh(1.4 * wave) * velocity


def clap(p: dict[str, Any], velocity: float, sample_rate: int) -> Floats:
    """Three hands a few milliseconds apart and the room after them."""
    n = int(0.45 * sample_rate)
    noise = _band(_noise(n, p, velocity), p.get("band", 900.0), 3.2 * p.get("band", 900.0), sample_rate)
    envelope = np.zeros(n, np.float32)
    for late_s in (0.0, 0.010, 0.021, 0.030):
        start = int(late_s * sample_rate * p.get("loose", 1.0))
        length = p.get("decay", 0.11) if late_s == 0.030 else 0.006
        envelope[start:] += _fade(n - start, sample_rate, length)
    return np.tanh(1.8 * noise * envelope) * velocity


_METAL = np.array([205.3, 369.6, 304.4, 522.7, 540.0, 800.0])


def metal(p: dict[str, Any], velocity: float, sample_rate: int) -> Floats:
    """Hats, rides and crashes: six detuned squares and noise above a high-pass."""
    decay = p.get("decay", 0.05) * (0.7 + 0.3 * velocity)
    n = int(min(2.5, 6 * decay + 0.01) * sample_rate)
    tones = np.full(n, len(_METAL), np.float32)
    for f in _METAL:
        turns = np.arange(n, dtype=np.uint32) * np.uint32(round(f * p.get("pitch", 1.0) / sample_rate * 2**32))
        tones -= (turns >> 30) & 2  # turns that wrap: the top bit is the second half of a square
    mix = p.get("noise", 0.5)
    raw = np.float32((1 - mix) * 0.3) * tones + np.float32(mix) * _noise(n, p, velocity)
    low = p.get("low", 7000.0)
    wave = sosfilt(_sections("highpass", 3, min(low, 0.4 * sample_rate), sample_rate), raw)
    ping = np.float32(0.35) * sine(np.arange(n) * (p["bell"] / sample_rate)) if p.get("bell") else 0.0
    wave = (wave + ping) * (_fade(n, sample_rate, decay) + 0.3 * _fade(n, sample_rate, 0.004))
    return (0.8 * wave * velocity).astype(np.float32)


def tom(p: dict[str, Any], velocity: float, sample_rate: int) -> Floats:
    """Toms and congas: a short falling tone with a slap."""
    decay = p.get("decay", 0.18)
    n = int(min(1.2, 5 * decay) * sample_rate)
    tone = p.get("tone", 120.0)
    body = _drop(n, sample_rate, tone * p.get("fall", 1.6), tone, 0.03) * _fade(n, sample_rate, decay)
    slap = _band(_noise(n, p, velocity), 600.0, 5000.0, sample_rate, 1) * _fade(n, sample_rate, 0.01)
    return np.tanh(body + p.get("slap", 0.3) * slap * velocity) * velocity


def click(p: dict[str, Any], velocity: float, sample_rate: int) -> Floats:
    """Rims, sticks, claves, blocks, cowbells: two short high tones."""
    decay = p.get("decay", 0.03)
    n = int(min(0.6, 7 * decay) * sample_rate)
    t = np.arange(n) / sample_rate
    tone, second = p.get("tone", 1700.0), p.get("second", 1.52)
    wave = sine(tone * t) + np.float32(0.7) * sine(tone * second * t)
    wave += 0.3 * _noise(n, p, 1.0) * _fade(n, sample_rate, 0.003)
    return (0.6 * np.tanh(p.get("drive", 1.0) * wave) * _fade(n, sample_rate, decay) * velocity).astype(np.float32)


def shaker(p: dict[str, Any], velocity: float, sample_rate: int) -> Floats:
    """Shakers, cabasas and brushes: noise that swells for a moment and goes."""
    decay = p.get("decay", 0.035)
    n = int(min(0.5, 8 * decay) * sample_rate)
    noise = _band(_noise(n, p, velocity), p.get("low", 4500.0), p.get("high", 13_000.0), sample_rate, 1)
    swell = np.minimum(1.0, (np.arange(n, dtype=np.float32) + 8) / (p.get("swell", 0.006) * sample_rate))
    return noise * swell * _fade(n, sample_rate, decay) * velocity * 1.2


SYNTHS = {
    "kick": kick, "snare": snare, "clap": clap, "metal": metal, "tom": tom, "click": click, "shaker": shaker,
}  # fmt: skip
