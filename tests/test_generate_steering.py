"""What may be changed while a stream plays: settings, and another draw of one stem."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import loop, own_stems, tiny_model

from melformer.generate import GenerationConfig, Melformer, StreamState
from melformer.generate.stream import AHEAD, BeatStream
from melformer.stems import STEMS
from melformer.stems.units import UnitChoice

FREE = GenerationConfig(variation=1.0, density=0.5)


@pytest.fixture(scope="module")
def model() -> Melformer:
    return tiny_model()


def test_settings_change_from_the_next_bar_on(model: Melformer) -> None:
    prompt = model.prompt(loop(), bpm=120)
    plain, changed = model.stream(prompt, seed=5), model.stream(prompt, seed=5)
    assert next(plain).sources == next(changed).sources
    changed.config = GenerationConfig(mute=("drums", "bass", "other"))
    later = [(next(plain), next(changed)) for _ in range(7)]
    assert all(a.sources == b.sources for a, b in later[:2])
    assert not later[-1][1].waveform.samples.any() and later[-1][0].waveform.samples.any()


def other_line(stream: BeatStream, stem: str) -> None:
    """Ask a stream for another line of a stem."""
    draws = tuple(n + (name == stem) for n, name in zip(stream.config.draws, STEMS))
    stream.config = replace(stream.config, draws=draws)


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("n_before", [0, 5])
def test_another_draw_of_a_stem_is_heard_from_the_next_beat_and_the_others_stay(
    model: Melformer, stem: str, n_before: int
) -> None:
    whole = model.generate(own_stems(), n_beats=n_before + 16, seed=3, config=FREE, bpm=120)
    stream = model.stream(own_stems(), n_beats=n_before + 16, seed=3, config=FREE, bpm=120)
    beats = [next(stream) for _ in range(n_before)]
    other_line(stream, stem)
    beats += list(stream)
    old, new = (
        np.array([[[choice.source, choice.shift, choice.silent] for choice in unit] for unit in units])
        for units in (whole.sources, [unit for beat in beats for unit in beat.sources])
    )
    assert np.array_equal(new[: 2 * n_before], old[: 2 * n_before])
    k = STEMS.index(stem)
    after = 2 * n_before + AHEAD * (n_before > 0)  # these were planned before
    stays = [other for other in range(3) if other != k]
    assert np.array_equal(new[: after + 4 * 8, stays], old[: after + 4 * 8, stays])  # four bars
    assert (new[after, k] != old[after, k]).any()


def test_draws_have_lines_of_their_own_and_their_number_gives_them_again(model: Melformer) -> None:
    lines = []
    for draw in (0, 1, 2, 1):
        config = replace(FREE, draws=(0, draw, 0))
        lines.append(
            [unit[1] for unit in model.generate(own_stems(), n_beats=16, seed=3, config=config, bpm=120).sources]
        )
    assert lines[1] == lines[3] and lines[0] != lines[1] != lines[2] != lines[0]


def test_a_stem_that_is_held_gives_way_to_other_settings(model: Melformer) -> None:
    stream = model.stream(loop(), seed=3, config=FREE, bpm=120)
    next(stream)
    other_line(stream, "bass")
    next(stream)
    stream.config = replace(stream.config, keep=("drums",))
    beats = [next(stream) for _ in range(10)]
    drums = [unit[0] for beat in beats[2:] for unit in beat.sources]  # from the next bar on
    assert drums == [UnitChoice(i % 8) for i in range(8, 24)]


def test_a_stream_with_another_draw_is_resumed_bit_for_bit(model: Melformer, tmp_path: Path) -> None:
    stream = model.stream(loop(), seed=3, config=FREE, bpm=120)
    next(stream)
    other_line(stream, "bass")
    next(stream)
    stream.state().save(tmp_path / "asleep.stream")
    resumed = model.resume(StreamState.load(tmp_path / "asleep.stream"))
    for _ in range(20):
        mine, its = next(stream), next(resumed)
        assert mine.sources == its.sources and np.array_equal(mine.waveform.samples, its.waveform.samples)


def test_a_loop_is_closed_whatever_is_drawn_anew(model: Melformer) -> None:
    stream = model.stream(loop(), n_beats=8, seed=3, config=FREE, close_loop=True, bpm=120)
    next(stream)
    other_line(stream, "drums")
    for _ in range(4):
        next(stream)
    other_line(stream, "bass")  # the last bar is settled by now
    rest = list(stream)
    assert len(rest) == 3 and stream.ending is not None
    assert [unit for beat in rest for unit in beat.sources] == stream.ending.choices[2:]
