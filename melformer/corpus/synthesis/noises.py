"""Sounds between the sections: risers, falls, impacts, reversed cymbals, the hiss and crackle of a record."""

from typing import Any

import numpy as np

from melformer.corpus.mixing.effects import filtered, swept
from melformer.corpus.synthesis.wavetable import Floats, white


def _noise(n: int, p: dict[str, Any]) -> Floats:
    rng = np.random.default_rng([int(p.get("seed", 0)), n % 65_536])
    return white(rng, (2, n)) * np.float32(0.3)


def riser(n: int, sample_rate: int, p: dict[str, Any]) -> Floats:
    """Noise that opens up and grows, with a rising tone, until the moment it stops."""
    n_blocks = -(-n // 512)
    cutoffs = np.geomspace(p.get("low", 300.0), p.get("high", 9000.0), n_blocks)
    wave = swept(_noise(n, p), "bandpass", cutoffs, sample_rate)
    ramp = np.linspace(0, 1, n, dtype=np.float32)
    turns = np.cumsum(p.get("tone", 110.0) * 2.0 ** (ramp * p.get("octaves", 2.0))) / sample_rate
    tone = 0.25 * p.get("tonal", 0.0) * (2 * (turns % 1.0) - 1)
    return ((wave * 1.5 + tone) * ramp**1.6).astype(np.float32)


def fall(n: int, sample_rate: int, p: dict[str, Any]) -> Floats:
    """Noise that closes and fades: after a drop."""
    n_blocks = -(-n // 512)
    cutoffs = np.geomspace(p.get("high", 9000.0), p.get("low", 200.0), n_blocks)
    wave = swept(_noise(n, p), "lowpass", cutoffs, sample_rate)
    return wave * np.linspace(1, 0, n, dtype=np.float32) ** 2


def impact(n: int, sample_rate: int, p: dict[str, Any]) -> Floats:
    """A deep boom with a burst of noise."""
    t = np.arange(n, dtype=np.float32) / sample_rate
    turns = 38.0 * t + 60.0 * 0.12 * (1 - np.exp(-t / 0.12))
    boom = np.sin(2 * np.pi * turns) * np.exp(-t / 0.5)
    burst = filtered(_noise(n, p), "lowpass", p.get("high", 3000.0), sample_rate) * np.exp(-t / 0.25) * 2
    fade = np.minimum(1.0, (n - np.arange(n, dtype=np.float32)) / (0.02 * sample_rate))
    return ((boom + burst) * fade).astype(np.float32)


def reverse(n: int, sample_rate: int, p: dict[str, Any]) -> Floats:
    """A cymbal played backwards."""
    t = np.arange(n, dtype=np.float32)[::-1] / sample_rate
    wave = filtered(_noise(n, p), "highpass", p.get("low", 3000.0), sample_rate)
    return wave * np.exp(-t / max(0.15, 0.3 * n / sample_rate)) * np.minimum(1, t / 0.004)


def record(n: int, sample_rate: int, p: dict[str, Any]) -> Floats:
    """Hiss and crackle for as long as it is held."""
    rng = np.random.default_rng([int(p.get("seed", 0)), 5])
    hiss = filtered(_noise(n, p), "bandpass", 4000.0, sample_rate, 0.4) * np.float32(0.25)
    clicks = np.zeros((2, n), np.float32)
    count = int(n / sample_rate * p.get("crackles", 9.0))
    clicks[rng.integers(0, 2, count), rng.integers(0, n, count)] = rng.uniform(-1, 1, count) ** 3 * 6
    return hiss + filtered(clicks, "bandpass", 2500.0, sample_rate, 0.6)


NOISES = {"riser": riser, "fall": fall, "impact": impact, "reverse": reverse, "record": record}
