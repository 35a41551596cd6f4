"""How fast a model continues loops on this machine, and how much memory it takes."""

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from melformer.audio.grid import BeatGrid, beats_per_second, seconds_per_beat
from melformer.audio.io import Waveform, write_waveform
from melformer.errors import RequestError
from melformer.stems.stems import STEMS

if TYPE_CHECKING:
    from melformer.generate import Melformer

RATE, PROMPT_BEATS, TEMPOS, N_TAKES = 44_100, 16, (120.0, 174.0), 4
N_STARTS = 5
"""How often what is short is measured."""
TARGETS = {120.0: (8.0, 5.0), 174.0: (5.0, 3.0)}
"""Times real time that are wanted at each tempo: at the median, and of 95% of the beats."""
ANEW = 2.0
"""Times real time that are wanted at the median where every bar leaves the loop."""
FIRST_BEAT_S, OWN_STEMS_S, COLD_START_S, TAKES_RATIO, MEMORY_MB, CHECKPOINT_MB = 1.0, 0.5, 6.0, 1.5, 1_500.0, 80.0
_COLD = """
from melformer import Melformer
import sys, torch
torch.set_num_threads(1)
next(Melformer.from_pretrained(sys.argv[1] or None).stream(sys.argv[2], bpm=120))
"""


@dataclass(frozen=True)
class Speed:
    """Times of one stream, in seconds; × real time is the length of a beat over the time it took."""

    bpm: float
    n_beats: int
    first_beat_s: float  # from the loop in memory to its first new beat, the model loaded: the median of some starts
    prompt_s: float  # the part of it that reads the loop
    own_stems_s: float  # to the first new beat of a loop that is given as stems
    x_real_time_median: float
    x_real_time_p95: float  # 95% of the beats are at least as fast
    x_real_time_anew: float  # the median where every stem of every bar leaves the loop


@dataclass(frozen=True)
class Bench:
    """Everything that `melformer bench` prints."""

    machine: str
    n_cores: int
    n_threads: int
    load_average: float  # of the last minute, before the measurement: above 0 something else was running
    torch: str
    checkpoint_mb: float
    cold_start_s: float  # from the start of a new process to its first beat
    speeds: list[Speed]
    takes_ratio: float  # time of four takes over the time of one: the median of some pairs
    peak_memory_mb: float

    def to_text(self) -> str:
        """A table of what is wanted and what was measured."""
        lines = [f"{self.machine}, {self.n_cores} cores, load {self.load_average:.1f} before; torch {self.torch}, "
                 f"{self.n_threads} thread(s)", ""]  # fmt: skip
        lines += [f"{name:44}{value:>10}   {target:<9}{'' if met else 'missed'}".rstrip() for name, value, target, met
                  in self._rows()]  # fmt: skip
        return "\n".join(lines)

    def _rows(self) -> list[tuple[str, str, str, bool]]:
        rows = []
        for speed in self.speeds:
            median, p95 = TARGETS[speed.bpm]
            at = f"{speed.bpm:g} BPM: × real time"
            rows += [_at_least(f"{at}, median", speed.x_real_time_median, median),
                     _at_least(f"{at}, 95% of beats", speed.x_real_time_p95, p95)]  # fmt: skip
            rows.append(_at_least(f"{at}, every bar anew, median", speed.x_real_time_anew, ANEW))
            name = f"{speed.bpm:g} BPM: {PROMPT_BEATS} beats heard to first beat, s"
            rows.append(_at_most(name, speed.first_beat_s, FIRST_BEAT_S))
            rows.append(_at_most(f"{speed.bpm:g} BPM: the same with stems at hand, s", speed.own_stems_s, OWN_STEMS_S))
        rows.append(_at_most("process start to first beat, s", self.cold_start_s, COLD_START_S))
        rows.append(_at_most(f"{N_TAKES} takes, × the time of one", self.takes_ratio, TAKES_RATIO))
        rows.append(_at_most("peak memory, MB", self.peak_memory_mb, MEMORY_MB))
        rows.append(_at_most("checkpoint, MB", self.checkpoint_mb, CHECKPOINT_MB))
        return rows


def _at_least(name: str, value: float, target: float) -> tuple[str, str, str, bool]:
    return name, f"{value:.3g}", f"≥ {target:g}", value >= target


def _at_most(name: str, value: float, target: float) -> tuple[str, str, str, bool]:
    return name, f"{value:.3g}" if value < 1e3 else f"{value:.0f}", f"≤ {target:g}", value <= target


def bench(name: str | None = None, n_beats: int = 64) -> Bench:
    """Measure a checkpoint (see `Melformer.from_pretrained`) over `n_beats` new beats at each tempo.

    Errors: CheckpointError; RequestError for fewer than 8 beats, of which no percentile can be told.
    """
    import torch

    from melformer.generate import Melformer
    from melformer.hub import find_bundle

    if not 8 <= n_beats <= 10_000:
        raise RequestError(f"The number of beats is {n_beats}; a measurement takes 8 to 10,000.")
    load = os.getloadavg()[0]
    folder, _ = find_bundle(name)
    cold = _cold_start(name)
    model = Melformer.from_pretrained(folder)
    _stream(model, 120.0, 4)  # the first use of anything is slow
    speeds = [_stream(model, bpm, n_beats) for bpm in TEMPOS]
    takes_ratio = _takes_ratio(model, n_beats // 4)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    return Bench(
        machine=_machine(), n_cores=os.cpu_count() or 1, n_threads=torch.get_num_threads(), load_average=load,
        torch=torch.__version__, checkpoint_mb=sum(f.stat().st_size for f in folder.iterdir() if f.is_file()) / 1e6,
        cold_start_s=cold, speeds=speeds, takes_ratio=takes_ratio, peak_memory_mb=memory,
    )  # fmt: skip


def loop_at(bpm: float, n_beats: int = PROMPT_BEATS) -> Waveform:
    """A plain loop on the beat, mono: a kick on every beat, a hat between, a bass that changes every bar."""
    edges = BeatGrid(bpm, RATE).edges(n_beats)
    time_s = np.arange(edges[-1]) / RATE
    beat = time_s * beats_per_second(bpm)
    kick = np.sin(40.0 * (1.0 - np.exp(-20.0 * (beat % 1.0)))) * np.exp(-6.0 * (beat % 1.0))
    hat = np.random.default_rng(0).standard_normal(len(beat)) * np.exp(-30.0 * ((beat + 0.5) % 1.0))
    bass = np.sin(2 * np.pi * np.take([55.0, 65.4, 49.0, 55.0], (beat // 4 % 4).astype(int)) * time_s)
    return Waveform((0.5 * kick + 0.05 * hat + 0.2 * bass).astype(np.float32)[:, None], RATE)


def _stream(model: "Melformer", bpm: float, n_beats: int) -> Speed:
    from melformer.generate import GenerationConfig

    loop, starts = loop_at(bpm), []
    stems = dict(zip(STEMS, model.stems(loop, bpm=bpm)))
    for _ in range(N_STARTS):
        start = time.perf_counter()
        prompt = model.prompt(loop, bpm=bpm, start_s=0.0)
        read = time.perf_counter()
        stream = model.stream(prompt, n_beats)
        next(stream)
        heard = time.perf_counter()
        next(model.stream(model.prompt(stems, bpm=bpm, start_s=0.0), 1))
        starts.append((heard - start, read - start, time.perf_counter() - heard))
    first_beat_s, prompt_s, own_stems_s = (float(seconds) for seconds in np.median(starts, axis=0))
    anew = model.stream(prompt, n_beats, config=GenerationConfig(variation=1.0))
    usual, bold = (np.array([beat.compute_s for beat in beats]) for beats in (stream, anew))
    median, p95 = (seconds_per_beat(bpm) / np.percentile(usual, q) for q in (50, 95))
    x_anew = seconds_per_beat(bpm) / float(np.median(bold))
    return Speed(bpm, n_beats, first_beat_s, prompt_s, own_stems_s, float(median), float(p95), x_anew)


def _takes_ratio(model: "Melformer", n_beats: int) -> float:
    prompt, ratios = model.prompt(loop_at(120.0), bpm=120.0, start_s=0.0), []
    for _ in range(N_STARTS):
        seconds = []
        for seeds in ([0], list(range(N_TAKES))):
            start = time.perf_counter()
            model.generate(prompt, n_beats, seeds=seeds)
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[1] / seconds[0])
    return float(np.median(ratios))


def _cold_start(name: str | None) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "loop_120bpm.wav"
        write_waveform(path, loop_at(120.0))
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", _COLD, name or "", str(path)], check=True)
        return time.perf_counter() - start


def _machine() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
