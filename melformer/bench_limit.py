"""Where the time of a beat goes, and how far it is from the least that this processor could need."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from melformer.runtime.packed import PackedLinear

if TYPE_CHECKING:
    from melformer.generate import BeatStream, Melformer

N_BYTES, SIDE, REPEATS = 256_000_000, 1_024, 5


@dataclass(frozen=True)
class TimedPart:
    """One part of a beat's computing: its share of the time, its milliseconds a beat, and the least: of reading its
    weights once per step from memory, and of its multiply-adds at the measured peak (0: not counted)."""

    name: str
    share: float
    beat_ms: float
    reading_ms: float
    multiplying_ms: float


@dataclass(frozen=True)
class Peak:
    """What one core of this machine does at most, measured: bytes read from memory and multiply-adds, a second."""

    bytes_per_s: float
    floats_per_s: float
    int8_per_s: float


def measure_parts(model: "Melformer", stream: "BeatStream", n_beats: int) -> list[TimedPart]:
    """Time planning, rendering and encoding over `n_beats` of a stream, and set each beside its limit."""
    clocks = {
        "planning": _timed(stream.planner, "advance"), "rendering": _timed(stream, "sounds"),
        "encoding": _timed(model.codec, "encode"),
    }  # fmt: skip
    needs = {"planning": _planning(model, stream), "encoding": _encoding(model)}
    begun, planned = time.perf_counter(), len(stream.choices)
    for _ in range(n_beats):
        _ = next(stream).codes
    whole, n_units, peak = time.perf_counter() - begun, len(stream.choices) - planned, measure_peak()
    times = {"planning": n_units, "encoding": n_beats * stream.prompt.model_beats_per_beat}
    seconds = {name: sum(clock) for name, clock in clocks.items()}
    seconds["the rest"] = whole - sum(seconds.values())
    parts = []
    for name, took in seconds.items():
        reads, floats, int8 = needs.get(name, (0, 0, 0))
        scale = 1e3 * times.get(name, 0) / n_beats
        multiplying = floats / peak.floats_per_s + int8 / peak.int8_per_s
        parts.append(
            TimedPart(name, took / whole, 1e3 * took / n_beats, scale * reads / peak.bytes_per_s, scale * multiplying)
        )
    return parts


def _timed(owner: Any, name: str) -> list[float]:
    """Let a method of one object note the seconds of each call."""
    work, seconds = getattr(owner, name), []

    def timed(*args: Any) -> Any:
        begun = time.perf_counter()
        answer = work(*args)
        seconds.append(time.perf_counter() - begun)
        return answer

    setattr(owner, name, timed)
    return seconds


def measure_peak() -> Peak:
    """Read a large array, and multiply matrices that fit into the cache, with torch's threads as they are."""
    many = torch.zeros(N_BYTES // 4)
    a = torch.rand(SIDE, SIDE)
    b = torch.ones(SIDE, SIDE, dtype=torch.int8)
    products = float(SIDE**3)
    floats = products / _best(lambda: a @ a)
    try:
        int8 = products / _best(lambda: torch._int_mm(b, b))
    except (AttributeError, RuntimeError):  # an older torch
        int8 = floats
    return Peak(N_BYTES / _best(many.sum), floats, int8)


def _best(work: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def _need(layers: list[tuple[nn.Linear, int]], n_reads: int) -> tuple[int, int, int]:
    """Bytes read, float and eight-bit multiply-adds of layers, each applied to so many rows, read `n_reads` times."""
    reads, floats, int8 = 0, 0, 0
    for layer, n_rows in layers:
        n, n_bytes = layer.weight.numel(), layer.bytes_per_weight if isinstance(layer, PackedLinear) else 4
        reads += n_reads * n * n_bytes
        if n_bytes == 1:
            int8 += n_rows * n
        else:
            floats += n_rows * n
    return reads, floats, int8


def _linear(*modules: nn.Module) -> list[nn.Linear]:
    return [layer for module in modules for layer in module.modules() if isinstance(layer, nn.Linear)]


@torch.inference_mode()
def _planning(model: "Melformer", stream: "BeatStream") -> tuple[int, int, int]:
    """Of one unit: every linear layer of the pointer, with the rows that it is given."""
    planner, options = stream.planner.fork(0), stream.config.of_bar(0, 0)
    return _counted(model.pointer, lambda: planner.next_unit(options))


@torch.inference_mode()
def _encoding(model: "Melformer") -> tuple[int, int, int]:
    """Of one model beat: every linear layer of the encoder, with the rows that it is given."""
    beat = torch.zeros(1, model.codec.config.samples_per_beat)
    return _counted(model.codec.encoder, lambda: model.codec.encode(beat))


def _counted(module: nn.Module, work: Callable[[], Any]) -> tuple[int, int, int]:
    rows = []

    def note(layer: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(layer, nn.Linear)
        rows.append((layer, given[0].numel() // layer.in_features))

    hooks = [layer.register_forward_pre_hook(note) for layer in _linear(module)]
    work()
    for hook in hooks:
        hook.remove()
    return _need(rows, 1)
