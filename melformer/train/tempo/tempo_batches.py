"""Batches for the beat tracker: examples at other speeds, in other colours, from anywhere in a clip."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from melformer.audio.grid import seconds_per_beat
from melformer.audio.mel import FRAMES_PER_S, N_BANDS
from melformer.audio.tempo.beat_network import N_TEMPI, STEP_FRAMES, TEMPI_BPM
from melformer.train.tempo.tempo_material import ClipGrid

N_FRAMES, FRAMES_SHARES = (400, 800), (0.3, 0.7)
_NEAR_S = 0.025  # a frame's target falls from 1 on the beat to 0 here
_FLOOR_LOG = -3.0  # of the loudest band
_SPEED = 0.3  # nats at most, up and down
_SLOWEST_BPM, _FASTEST_BPM = 42.0, 230.0


Items = Sequence[tuple[np.ndarray, ClipGrid]]
"""Clips as log-magnitudes (n_frames, 40), and their grids."""


def draw_batch(items: Items, n: int, rng: np.random.Generator) -> dict[str, Tensor]:
    """`n` examples, drawn and changed: bands, masks and targets."""
    n_frames = int(rng.choice(N_FRAMES, p=FRAMES_SHARES))
    chosen = [items[i] for i in rng.integers(len(items), size=n)]
    return _stacked([_changed(logs, grid, n_frames, rng) for logs, grid in chosen])


def plain_batch(items: Items) -> dict[str, Tensor]:
    """The first 8 s of examples as they are."""
    return _stacked([_example(logs.astype(np.float32), grid, 0, N_FRAMES[-1]) for logs, grid in items])


def _stacked(drawn: Sequence[dict[str, np.ndarray]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.stack([d[name] for d in drawn])) for name in drawn[0]}


def _changed(logs: np.ndarray, grid: ClipGrid, n_frames: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    logs = logs.astype(np.float32)
    speed = float(np.exp(rng.uniform(-_SPEED, _SPEED))) if rng.random() < 0.5 else 1.0
    speed = float(np.clip(speed, _SLOWEST_BPM / grid.bpm, _FASTEST_BPM / grid.bpm))
    if speed != 1.0:
        places = np.arange(0, len(logs) - 1, speed)
        low = np.minimum(places.astype(int), len(logs) - 2)
        part = (places - low)[:, None].astype(np.float32)
        logs = logs[low] * (1 - part) + logs[low + 1] * part
    played = replace(
        grid, bpm=grid.bpm * speed, beat_s=grid.beat_s / speed, start_s=grid.start_s / speed, stop_s=grid.stop_s / speed
    )
    first = int(rng.integers(0, max(1, len(logs) - n_frames + 1)))
    return _example(_recoloured(logs - logs.max(), rng), played, first, n_frames)


def _example(logs: np.ndarray, grid: ClipGrid, first: int, n_frames: int) -> dict[str, np.ndarray]:
    """A stretch of a clip as the network takes it, and its targets."""
    logs = logs[first : first + n_frames]
    kept = len(logs)
    top = max(float(logs.max()), -6.0)
    bands, mask = np.zeros((N_BANDS, n_frames), np.float32), np.zeros((1, n_frames), np.float32)
    bands[:, :kept] = (np.maximum(logs - top, _FLOOR_LOG) * (2 / 3) + 1).T
    mask[:, : kept // STEP_FRAMES * STEP_FRAMES] = 1.0
    shift = first / FRAMES_PER_S
    moved = replace(grid, beat_s=grid.beat_s - shift, start_s=grid.start_s - shift, stop_s=grid.stop_s - shift)
    return {"bands": bands, "mask": mask, **targets(moved, n_frames)}


def _recoloured(logs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other microphones and other rooms: a tilt, a bump, bands shifted or missing, a floor of noise."""
    places = np.linspace(-1, 1, N_BANDS, dtype=np.float32)
    if rng.random() < 0.6:
        bump = np.exp(-(((places - rng.uniform(-1, 1)) / 0.4) ** 2))
        logs = logs + (rng.normal(0, 0.25) * places + rng.normal(0, 0.3) * bump).astype(np.float32)
    if rng.random() < 0.3:
        shift = int(rng.integers(-3, 4))
        logs = np.roll(logs, shift, axis=1)
        if shift > 0:
            logs[:, :shift] = logs[:, shift : shift + 1]
        elif shift < 0:
            logs[:, shift:] = -7.0
    if rng.random() < 0.15:
        logs = logs.copy()
        logs[:, int(rng.integers(18, N_BANDS)) :] = -7.0
    if rng.random() < 0.3:
        floor = rng.uniform(-3.2, -1.0) + rng.normal(0, 0.4) * places
        noise = rng.standard_normal(logs.shape, np.float32) * np.float32(0.12)
        logs = np.maximum(logs, noise + floor.astype(np.float32))
    return logs


def targets(grid: ClipGrid, n_frames: int) -> dict[str, np.ndarray]:
    """What the network should answer: frames (3, n_frames), tempo (90,), metre ()."""
    times = np.arange(n_frames) / FRAMES_PER_S
    beat = seconds_per_beat(grid.bpm)
    inside = (times > grid.start_s - 0.02) & (times < grid.stop_s - 0.02)

    def near(period: float) -> np.ndarray:
        off = np.abs((times - grid.beat_s + period / 2) % period - period / 2)
        return np.maximum(0.0, 1.0 - off / _NEAR_S) * inside

    frames = np.stack([near(beat), near(beat * grid.beats_per_bar), inside]).astype(np.float32)
    distance = np.log(TEMPI_BPM / grid.bpm) / (np.log(6.0) / N_TEMPI)
    tempo = np.exp(-0.5 * distance**2).astype(np.float32)
    return {"frames": frames, "tempo": tempo / tempo.sum(), "metre": np.array(grid.metre, np.int64)}
