"""How the cost grows with the work, counted in floating-point operations and bytes, never in time."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from melformer.audio.io import Waveform
from melformer.bench import loop_at
from melformer.codec.source_scorer import RECENT_BEATS
from melformer.config import PRESETS
from melformer.generate import BeatStream, GenerationConfig, Melformer

BPM = 120.0
MEMORY = 4  # beats that the transformer remembers here: few, so that its memory is soon full
FULL = MEMORY + 2


@pytest.fixture(scope="module")
def model() -> Melformer:
    torch.manual_seed(0)
    config = PRESETS["tiny"]
    return Melformer(replace(config, transformer=replace(config.transformer, context_beats=MEMORY)))


def operations(work: Callable[[], Any]) -> int:
    """Multiplications and additions in matrix products, convolutions and attention."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def held_bytes(stream: BeatStream) -> int:
    """Bytes that a stream needs to go on, without the loop itself."""
    tensors = stream.state().tensors
    return sum(t.numel() * t.element_size() for name, t in tensors.items() if not name.startswith("prompt."))


def started(model: Melformer, n_beats: int, rate: int = 44_100) -> BeatStream:
    loop = loop_at(BPM, n_beats)
    if rate != loop.sample_rate:
        loop = Waveform(loop_at(BPM, 4 * n_beats).samples[: n_beats * rate // 2], rate)
    decoded = GenerationConfig(
        own_sound=0.0, variation=1.0, novelty=10.0, min_p=0.0
    )  # beats that are copied are not decoded, and cost less
    stream = model.stream(model.prompt(loop, bpm=BPM, start_s=0.0), settings=decoded)
    next(stream)
    return stream


def test_a_beat_costs_the_same_however_long_the_stream_has_played(model: Melformer) -> None:
    stream = started(model, 2)
    costs, sizes = [], []
    while stream.index < 8 * MEMORY:
        if stream.index <= FULL + 1 or stream.index > 8 * MEMORY - 3:
            costs.append(operations(lambda: next(stream)))  # slow itself, so the beats between go uncounted
        else:
            next(stream)
        sizes.append(held_bytes(stream))
    assert costs[0] > 0
    assert costs == sorted(costs)  # it grows while memory fills,
    assert costs[FULL] == costs[-1]  # and then no more
    assert max(sizes[FULL : 4 * MEMORY]) == max(sizes[4 * MEMORY :])


def test_reading_grows_in_proportion_to_the_loop(model: Melformer) -> None:
    loops = {n: loop_at(BPM, n) for n in (2, 4, 8)}
    costs = {n: operations(lambda n=n: model.encode(loops[n], BPM)) for n in loops}
    assert costs[4] == 2 * costs[2] and costs[8] == 4 * costs[2]


def test_a_longer_loop_adds_nothing_to_what_a_beat_costs_once_memory_is_full(model: Melformer) -> None:
    costs, sizes = [], []
    for n_beats in (2, 32):
        stream = started(model, n_beats)
        while stream.index < FULL:
            next(stream)
        costs.append(operations(lambda stream=stream: next(stream)))
        sizes.append(held_bytes(stream))
    assert costs[0] == costs[1]
    distances = RECENT_BEATS * (32 - 2) * 4  # of the last beats to each of the loop's, in float32
    assert sizes[1] - sizes[0] == distances


def test_each_take_adds_the_same(model: Melformer) -> None:
    prompt = model.prompt(loop_at(BPM, 2), bpm=BPM, start_s=0.0)
    neural = GenerationConfig(
        own_sound=0.0, variation=1.0, novelty=10.0, min_p=0.0
    )  # what is copied is not decoded, and takes copy differently
    costs = [operations(lambda n=n: model.takes(prompt, 1, list(range(n)), settings=neural)) for n in (4, 8, 16)]
    per_take = np.diff(costs) / np.array([4, 8])
    # A code that is copied needs no logits, and some are copied even at variation 1: 0.5% of a take's operations.
    assert np.ptp(per_take) < 0.01 * per_take.mean()


@pytest.mark.parametrize("rate", [22_050, 96_000])
def test_the_loops_sample_rate_does_not_reach_the_model(model: Melformer, rate: int) -> None:
    costs = []
    for its_rate in (44_100, rate):
        stream = started(model, 2, its_rate)
        costs.append(operations(lambda stream=stream: [next(stream) for _ in range(2)]))
    assert costs[0] == costs[1]


def test_beats_are_rendered_once(model: Melformer) -> None:
    stream = model.stream(model.prompt(loop_at(BPM, 2), bpm=BPM, start_s=0.0), 16)
    rendered = sum(beat.waveform.n_samples for beat in stream)
    pushed = stream.takes.renderers[0].state.n_pushed
    assert rendered == 16 * 22_050
    assert 16 <= pushed <= 18  # a stream looks one beat ahead, and the resampler a little farther


def test_the_counter_sees_a_growing_cost() -> None:
    """The measure itself: a product twice as long costs twice as much."""
    a = torch.ones(8, 8)
    assert operations(lambda: a @ a) * 2 == operations(lambda: torch.cat([a, a]) @ a)
