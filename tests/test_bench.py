"""What `melformer bench` says of times that are known: a clock that only the model's own work moves."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bench_report
import pytest

import melformer.bench
from melformer.bench import Bench, bench

PROMPT_S, OWN_STEMS_S, FIRST_S, START_S, TAKE_S, TAKES_S = 0.25, 0.5, 0.125, 7.0, 2.0, 2.5
N_BEATS = 101


class Clock:
    """Seconds that pass when something is done."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def perf_counter(self) -> float:
        return self.now_s


class TimedModel:
    """Reads a loop, begins a stream and makes takes in times of its own."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def prompt(self, loop: Any, **options: Any) -> str:
        self.clock.now_s += OWN_STEMS_S if isinstance(loop, dict) else PROMPT_S
        return "prompt"

    def stems(self, loop: Any, bpm: float) -> tuple[Any, ...]:
        return (loop, loop, loop)

    def stream(self, prompt: str, n_beats: int = N_BEATS, config: Any = None) -> Iterator[SimpleNamespace]:
        self.clock.now_s += FIRST_S
        for k in range(n_beats):
            usual = 0.05 if k <= 0.9 * n_beats else 0.2
            yield SimpleNamespace(compute_s=0.1 if config and config.variation == 1.0 else usual)

    def generate(self, prompt: str, n_beats: int, seeds: list[int]) -> None:
        self.clock.now_s += TAKE_S if len(seeds) == 1 else TAKES_S


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    clock = Clock()

    def start(*command: Any, **options: Any) -> None:
        clock.now_s += START_S

    (tmp_path / "model.safetensors").write_bytes(bytes(2_000_000))
    monkeypatch.setattr(melformer.bench, "time", clock)
    monkeypatch.setattr(subprocess, "run", start)
    monkeypatch.setattr("melformer.hub.find_bundle", lambda name: (tmp_path, None))
    monkeypatch.setattr("melformer.generate.Melformer.from_pretrained", lambda folder: TimedModel(clock))
    return bench(n_beats=N_BEATS)


def test_speeds_are_those_of_the_beats(report: Bench) -> None:
    """A beat lasts 0.5 s at 120 BPM; a tenth of the beats takes four times as long as the others."""
    slow, fast = report.speeds
    assert (slow.bpm, slow.n_beats, fast.bpm) == (120.0, N_BEATS, 174.0)
    assert slow.x_real_time_median == pytest.approx(10.0) and slow.x_real_time_p95 == pytest.approx(2.5)
    assert slow.x_real_time_anew == pytest.approx(5.0) and slow.own_stems_s == pytest.approx(OWN_STEMS_S + FIRST_S)
    assert fast.x_real_time_median == pytest.approx(10.0 * 120 / 174)
    assert slow.prompt_s == pytest.approx(PROMPT_S) and slow.first_beat_s == pytest.approx(PROMPT_S + FIRST_S)


def test_a_start_takes_and_a_folder_are_measured(report: Bench) -> None:
    assert report.cold_start_s == pytest.approx(START_S)
    assert report.takes_ratio == pytest.approx(TAKES_S / TAKE_S)
    assert report.checkpoint_mb == pytest.approx(2.0)


def test_what_misses_its_target_is_marked(report: Bench) -> None:
    marks = {
        line.split("  ")[0]: line.endswith("missed")
        for line in report.to_text().splitlines()
        if "≥" in line or "≤" in line
    }
    assert not marks["120 BPM: × real time, median"] and marks["120 BPM: × real time, 95% of beats"]
    assert marks["process start to first beat, s"] and not marks["4 takes, × the time of one"]
    assert not marks["120 BPM: 16 beats heard to first beat, s"] and marks["120 BPM: the same with stems at hand, s"]
    assert not marks["checkpoint, MB"]


def test_of_several_runs_the_medians_are_reported() -> None:
    runs = [{"name": "a", "n": 2, "s": [seconds, 1.0]} for seconds in (3.0, 1.0, 2.0)]
    assert bench_report.medians(runs) == {"name": "a", "n": 2, "s": [2.0, 1.0]}
