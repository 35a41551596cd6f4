"""`melformer train tempo`: the beat tracker, from passages of the composition engine."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from beat_tracker import N_TEMPI, STEP_FRAMES, TEMPI_BPM
from mel import FRAMES_PER_S, N_BANDS
from tempo_material import Grid, load_examples
from tempo_network import TempoNetwork
from torch import Tensor
from torch.nn import functional as F

from melformer.audio.grid import seconds_per_beat

BATCH = 16
_NEAR_S = 0.025  # a frame's target falls from 1 on the beat to 0 here
_FLOOR_LOG = -3.0  # of the loudest band


class Batches:
    """Endless batches of augmented examples: bands, masks and targets."""

    def __init__(self, folders: Sequence[Path], seed: int) -> None:
        self.folders, self.rng = list(folders), np.random.default_rng(seed)
        self.seen: set[Path] = set()
        self.items: list[tuple[np.ndarray, Grid]] = []
        self.refresh()

    def refresh(self) -> None:
        """Take in files written since."""
        new = [p for folder in self.folders for p in sorted(folder.glob("*.npz")) if p not in self.seen]
        self.items += [(bands, grid) for bands, grid, _, _ in load_examples(new)]
        self.seen.update(new)

    def draw(self) -> dict[str, Tensor]:
        n_frames = int(self.rng.choice([400, 800], p=[0.3, 0.7]))
        drawn = [self._augmented(*self.items[i], n_frames) for i in self.rng.integers(len(self.items), size=BATCH)]
        return {name: torch.from_numpy(np.stack([d[name] for d in drawn])) for name in drawn[0]}

    def _augmented(self, logs: np.ndarray, grid: Grid, n_frames: int) -> dict[str, np.ndarray]:
        rng = self.rng
        logs = logs.astype(np.float32)
        speed = float(np.exp(rng.uniform(-0.3, 0.3))) if rng.random() < 0.5 else 1.0
        speed = float(np.clip(speed, 42 / grid.bpm, 230 / grid.bpm))
        if speed != 1.0:
            places = np.arange(0, len(logs) - 1, speed)
            low = places.astype(int)
            part = (places - low)[:, None].astype(np.float32)
            logs = logs[low] * (1 - part) + logs[low + 1] * part
        logs = _recoloured(logs - logs.max(), rng)
        first = int(rng.integers(0, max(1, len(logs) - n_frames + 1)))
        logs = logs[first : first + n_frames]
        kept = len(logs)
        top = max(float(logs.max()), -6.0)
        x = np.maximum(logs - top, _FLOOR_LOG) * (2 / 3) + 1
        bands, mask = np.zeros((N_BANDS, n_frames), np.float32), np.zeros((1, n_frames), np.float32)
        bands[:, :kept], mask[:, : kept // STEP_FRAMES * STEP_FRAMES] = x.T, 1.0
        shift = first / FRAMES_PER_S
        moved = Grid(grid.bpm * speed, grid.beat_s / speed - shift, grid.beats_per_bar, grid.metre,
                     grid.start_s / speed - shift, grid.stop_s / speed - shift)  # fmt: skip
        return {"bands": bands, "mask": mask, **targets(moved, n_frames)}


def _recoloured(logs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other microphones and other rooms: a tilt, a bump, bands shifted or missing, a floor of noise."""
    places = np.linspace(-1, 1, N_BANDS, dtype=np.float32)
    if rng.random() < 0.6:
        curve = rng.normal(0, 0.25) * places + rng.normal(0, 0.3) * np.exp(
            -(((places - rng.uniform(-1, 1)) / 0.4) ** 2)
        )
        logs = logs + curve.astype(np.float32)
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


def targets(grid: Grid, n_frames: int) -> dict[str, np.ndarray]:
    """What the network should say of a clip."""
    times = np.arange(n_frames) / FRAMES_PER_S
    beat = seconds_per_beat(grid.bpm)
    inside = (times > grid.start_s - 0.02) & (times < grid.stop_s - 0.02)

    def near(period: float) -> np.ndarray:
        off = np.abs((times - grid.beat_s + period / 2) % period - period / 2)
        return np.maximum(0.0, 1.0 - off / _NEAR_S) * inside

    frames = np.stack([near(beat), near(beat * grid.beats_per_bar), inside]).astype(np.float32)
    distance = np.log(TEMPI_BPM / grid.bpm) / (np.log(6.0) / N_TEMPI)
    tempo = np.exp(-0.5 * distance**2).astype(np.float32)
    return {"frames": frames, "tempo": tempo / tempo.sum(), "metre": np.int64(grid.metre)}


def loss(network: TempoNetwork, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
    """Cross-entropies: of frames (beat, downbeat, music), of the clip's tempo and metre."""
    frames, tempo, metre = network(batch["bands"], batch["mask"])
    mask = batch["mask"]
    each = F.binary_cross_entropy_with_logits(frames, batch["frames"], reduction="none")
    per = (each * mask).sum((0, 2)) / mask.sum()
    tempo_loss = F.cross_entropy(tempo, batch["tempo"])
    metre_loss = F.cross_entropy(metre, batch["metre"])
    total = 5 * per[0] + 5 * per[1] + 0.5 * per[2] + 0.15 * tempo_loss + 0.15 * metre_loss
    parts = {"beat": per[0], "downbeat": per[1], "music": per[2], "tempo": tempo_loss, "metre": metre_loss}
    return total, {name: float(part.detach()) for name, part in parts.items()}


@dataclass(frozen=True)
class FitOptions:
    """`steps` batches, or fewer in `minutes`; the rate rises for 100 steps and falls over the last 60%."""

    steps: int = 4_000
    minutes: float = 600.0
    lr: float = 3e-3
    seed: int = 1
    init: Path | None = None


def fit(folders: Sequence[Path], out: Path, options: FitOptions) -> None:
    """Train the network on folders of examples; its weights are written every 100 steps."""
    from safetensors.numpy import load_file, save_file

    torch.manual_seed(options.seed)
    batches, network = Batches(folders, options.seed), TempoNetwork()
    if options.init:
        network.load_state_dict({name: torch.from_numpy(value) for name, value in load_file(options.init).items()})
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters, {len(batches.items):,} examples", flush=True)
    optimizer = torch.optim.AdamW(network.parameters(), options.lr, betas=(0.9, 0.98), weight_decay=0.01)
    average: dict[str, float] = {}
    started = time.time()
    for step in range(1, options.steps + 1):
        done = max(step / options.steps, (time.time() - started) / 60.0 / options.minutes)
        for group in optimizer.param_groups:
            group["lr"] = options.lr * min(1.0, step / 100, max(0.0, 1.0 - done) / 0.6 + 0.005)
        value, parts = loss(network, batches.draw())
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average = {n: 0.98 * average.get(n, p) + 0.02 * p for n, p in parts.items()}
        if step % 100 == 0 or step == options.steps or done >= 1.0:
            print(step, f"{time.time() - started:.0f} s", {n: round(p, 4) for n, p in average.items()}, flush=True)
            batches.refresh()
            out.parent.mkdir(parents=True, exist_ok=True)
            save_file(network.arrays(), out)
        if done >= 1.0:
            return
