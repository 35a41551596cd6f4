"""How the cost grows with the work, counted in floating-point operations and bytes, never in time."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from melformer.bench import loop_at
from melformer.config import PRESETS
from melformer.generate import BeatStream, GenerationConfig, Melformer
from melformer.transformer.pointer import POINTERS, Pointer

BPM = 120.0
WINDOW = 16  # half beats that the pointer looks back: few, so that its memory is soon full
FULL = WINDOW // 2 + 2


@pytest.fixture(scope="module")
def model() -> Melformer:
    torch.manual_seed(0)
    model = Melformer(PRESETS["tiny"])
    model.__dict__["pointer"] = Pointer(replace(POINTERS["tiny"], window=WINDOW)).eval()
    return model


def operations(work: Callable[[], Any]) -> int:
    """Multiplications and additions in matrix products, convolutions and attention."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def started(model: Melformer, n_beats: int) -> BeatStream:
    loop = loop_at(BPM, n_beats)
    stream = model.stream(model.prompt(loop, bpm=BPM, start_s=0.0), config=GenerationConfig(variation=1.0))
    next(stream)
    return stream


def test_a_beat_costs_the_same_however_long_the_stream_has_played(model: Melformer) -> None:
    stream = started(model, 2)
    costs = [operations(lambda: next(stream)) for _ in range(4 * FULL)]
    assert costs[0] > 0
    assert costs == sorted(costs)  # it grows while memory fills,
    assert costs[FULL] == costs[-1]  # and then no more


def test_reading_grows_in_proportion_to_the_loop(model: Melformer) -> None:
    loops = {n: loop_at(BPM, n) for n in (2, 4, 8)}
    costs = {n: operations(lambda n=n: model.encode(loops[n], BPM)) for n in loops}
    assert costs[4] == 2 * costs[2] and costs[8] == 4 * costs[2]


def test_up_to_four_takes_are_planned_at_the_cost_of_one(model: Melformer) -> None:
    prompt = model.prompt(loop_at(BPM, 2), bpm=BPM, start_s=0.0)
    model.generate(prompt, 1, seeds=[0])  # the loop is separated and read once for all
    one, two, four, five, eight = (
        operations(lambda n=n: model.generate(prompt, 1, seeds=list(range(n)))) for n in (1, 2, 4, 5, 8)
    )
    own = two - one  # the keys of the loop's last unit, which depend on what is asked of a take
    assert 0 <= own < 0.01 * one and four == one + 3 * own
    assert five == four + one and eight == 2 * four


def test_the_counter_sees_a_growing_cost() -> None:
    """The measure itself: a product twice as long costs twice as much."""
    a = torch.ones(8, 8)
    assert operations(lambda: a @ a) * 2 == operations(lambda: torch.cat([a, a]) @ a)
