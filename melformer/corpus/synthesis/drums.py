"""Drum synthesis: one function a family, each hit a fresh float32 (n,) with its attack at sample 0."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import sosfilt

from melformer.corpus.mixing.effects import biquad, filtered
from melformer.corpus.synthesis.wavetable import Floats, decay_curve, sine, white


def _band(noise: Floats, low: float, high: float, sample_rate: int) -> Floats:
    """A first-order Butterworth band-pass, its edges where they are named."""
    first, last = (np.tan(np.pi * edge / sample_rate) for edge in (low, min(high, 0.48 * sample_rate)))
    centre = float(np.sqrt(first * last))
    return filtered(noise, "bandpass", np.arctan(centre) / np.pi * sample_rate, sample_rate, centre / (last - first))


def _above(noise: Floats, low: float, sample_rate: int) -> Floats:
    """A third-order Butterworth high-pass: one second-order section with q = 1, and a first-order one."""
    k = np.tan(np.pi * low / sample_rate)
    single = np.array([[1 / (1 + k), -1 / (1 + k), 0, 1, (k - 1) / (k + 1), 0]], np.float32)
    return sosfilt(np.concatenate([biquad("highpass", low, sample_rate, 1.0), single]), noise)


def _noise(n: int, p: dict[str, Any], velocity: float) -> Floats:
    return white(np.random.default_rng([p.get("seed", 0), int(velocity * 16)]), (n,))


def _burst(n: int, sample_rate: int, p: dict[str, Any], decay_s: float) -> Floats:
    """A click of noise: the first of `n` samples, no more than can be heard of it."""
    n = min(n, int(12 * decay_s * sample_rate))
    return _noise(n, p, 1.0) * _fade(n, sample_rate, decay_s)


def _drop(n: int, sample_rate: int, high: float, low: float, tau: float) -> Floats:
    """A sine that falls from `high` to `low` Hz with time constant `tau` seconds."""
    turns: NDArray[np.float64] = np.arange(n, dtype=np.float64) * (low / sample_rate)
    falling = min(n, int(16 * tau * sample_rate))  # after that there is nothing left to fall
    turns[:falling] += (high - low) * tau * (1 - np.exp(np.arange(falling) * (-1 / (tau * sample_rate))))
    turns[falling:] += (high - low) * tau
    return sine(turns)


def _fade(n: int, sample_rate: int, decay_s: float) -> Floats:
    """An exponential decay that ends at zero within its last 4 ms, (n,)."""
    fade = decay_curve(n, 1 / (decay_s * sample_rate))
    last = min(n, int(0.004 * sample_rate))
    fade[n - last :] *= np.arange(last, 0, -1, dtype=np.float32) / np.float32(0.004 * sample_rate)
    return fade


def kick(p: dict[str, Any], velocity: float, sample_rate: int) -> Floats:
    """A falling sine with a click, driven."""
    decay = p.get("decay", 0.16)
    n = int(min(1.5, 6 * decay) * sample_rate)
    body = _drop(n, sample_rate, p.get("high", 220.0), p.get("low", 50.0), p.get("tau", 0.03))
    body *= _fade(n, sample_rate, decay)
    click = _burst(n, sample_rate, p, 0.0025) * (p.get("click", 0.3) * velocity)
    body[: len(click)] += click
    drive = p.get("drive", 1.2)
    return np.tanh(drive * body) * (velocity / math.tanh(drive))


def snare(p: dict[str, Any], velocity: float, sample_rate: int) -> Floats:
    """Two tones of the skin under a band of noise from the wires."""
    decay = p.get("decay", 0.14)
    n = int(min(1.2, 6 * decay) * sample_rate)
    tone = p.get("tone", 185.0)
    body = _drop(n, sample_rate, 1.6 * tone, tone, 0.012) + 0.5 * _drop(n, sample_rate, 2.6 * tone, 1.8 * tone, 0.01)
    wires = _band(_noise(n, p, velocity), p.get("band", 900.0), 11_000.0, sample_rate) * _fade(n, sample_rate, decay)
    snap = _burst(n, sample_rate, p, 0.004) * (0.4 * velocity)
    mix = p.get("wires", 0.6)
    wave = (1 - mix) * body * _fade(n, sample_rate, decay * 0.55) + mix * 1.2 * wires
    wave[: len(snap)] += snap
    return np.tanh(1.4 * wave) * velocity


def clap(p: dict[str, Any], velocity: float, sample_rate: int) -> Floats:
    """Three hands a few milliseconds apart and the room after them."""
    n = int(0.45 * sample_rate)
    band = p.get("band", 900.0)
    noise = filtered(_noise(n, p, velocity), "highpass", band, sample_rate)
    noise = filtered(noise, "lowpass", 3.2 * band, sample_rate)
    envelope = np.zeros(n, np.float32)
    for late_s in (0.0, 0.010, 0.021, 0.030):
        start = int(late_s * sample_rate * p.get("loose", 1.0))
        length = p.get("decay", 0.11) if late_s == 0.030 else 0.006
        envelope[start:] += _fade(n - start, sample_rate, length)
    return np.tanh(1.8 * noise * envelope) * velocity


_METAL = np.array([205.3, 369.6, 304.4, 522.7, 540.0, 800.0])


@lru_cache(maxsize=8)
def _squares(n: int, pitch: float, sample_rate: int) -> Floats:
    """Six detuned squares together, (n,): the metal of an old drum machine."""
    tones = np.full(n, len(_METAL), np.float32)
    for f in _METAL:
        turns = np.arange(n, dtype=np.uint32) * np.uint32(round(f * pitch / sample_rate * 2**32))
        tones -= (turns >> 30) & 2  # turns that wrap: the top bit is the second half of a square
    return tones


def metal(p: dict[str, Any], velocity: float, sample_rate: int) -> Floats:
    """Hats, rides and crashes: six detuned squares and noise above a high-pass."""
    decay = p.get("decay", 0.05) * (0.7 + 0.3 * velocity)
    n = int(min(2.5, 6 * decay + 0.01) * sample_rate)
    tones = _squares(int(2.5 * sample_rate), p.get("pitch", 1.0), sample_rate)[:n]
    mix = p.get("noise", 0.5)
    raw = np.float32((1 - mix) * 0.3) * tones + np.float32(mix) * _noise(n, p, velocity)
    low = p.get("low", 7000.0)
    wave = _above(raw, min(low, 0.4 * sample_rate), sample_rate)
    ping = np.float32(0.35) * sine(np.arange(n) * (p["bell"] / sample_rate)) if p.get("bell") else 0.0
    fade = _fade(n, sample_rate, decay)
    start = min(n, int(0.05 * sample_rate))
    fade[:start] += 0.3 * _fade(start, sample_rate, 0.004)
    return (wave + ping) * fade * np.float32(0.8 * velocity)


def tom(p: dict[str, Any], velocity: float, sample_rate: int) -> Floats:
    """Toms and congas: a short falling tone with a slap."""
    decay = p.get("decay", 0.18)
    n = int(min(1.2, 5 * decay) * sample_rate)
    tone = p.get("tone", 120.0)
    body = _drop(n, sample_rate, tone * p.get("fall", 1.6), tone, 0.03) * _fade(n, sample_rate, decay)
    slap = _band(_noise(n, p, velocity), 600.0, 5000.0, sample_rate) * _fade(n, sample_rate, 0.01)
    return np.tanh(body + p.get("slap", 0.3) * slap * velocity) * velocity


def click(p: dict[str, Any], velocity: float, sample_rate: int) -> Floats:
    """Rims, sticks, claves, blocks, cowbells: two short high tones."""
    decay = p.get("decay", 0.03)
    n = int(min(0.6, 7 * decay) * sample_rate)
    turns, second = np.arange(n) * (p.get("tone", 1700.0) / sample_rate), p.get("second", 1.52)
    wave = sine(turns) + 0.7 * sine(turns * second)
    tick = _burst(n, sample_rate, p, 0.003)
    wave[: len(tick)] += 0.3 * tick
    return np.tanh(p.get("drive", 1.0) * wave) * _fade(n, sample_rate, decay) * np.float32(0.6 * velocity)


def shaker(p: dict[str, Any], velocity: float, sample_rate: int) -> Floats:
    """Shakers, cabasas and brushes: noise that swells for a moment and goes."""
    decay = p.get("decay", 0.035)
    n = int(min(0.5, 8 * decay) * sample_rate)
    noise = _band(_noise(n, p, velocity), p.get("low", 4500.0), p.get("high", 13_000.0), sample_rate)
    swell = np.minimum(1.0, (np.arange(n, dtype=np.float32) + 8) / (p.get("swell", 0.006) * sample_rate))
    return noise * swell * _fade(n, sample_rate, decay) * velocity * 1.2


SYNTHS = {
    "kick": kick, "snare": snare, "clap": clap, "metal": metal, "tom": tom, "click": click, "shaker": shaker,
}  # fmt: skip
