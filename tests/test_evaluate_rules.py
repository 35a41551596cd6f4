"""Rules and jumper: bars in the stated order, joins without a click, the loop's own beats alone."""

import numpy as np
import pytest
from evaluate_band import RATE, play

from melformer.audio.grid import beat_edges
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError
from melformer.evaluate.metrics.new_beats import score_new_beats
from melformer.evaluate.systems.jumper import jump, jumping_order
from melformer.evaluate.systems.rules import RULES, apply_rule, arrange_beats, median_filter_stems

BPM = 120.0


@pytest.fixture(scope="module")
def prompt() -> Waveform:
    chords = ((261.6, 329.6, 392.0), (220.0, 261.6, 329.6), (293.7, 349.2, 440.0), (196.0, 246.9, 293.7))
    return play(16, chords=chords)


def test_beats_in_order_are_the_loop_bit_for_bit_and_cuts_are_faded():
    loop = np.random.default_rng(0).standard_normal((8 * 22_050, 1)).astype(np.float32)
    edges = beat_edges(8, BPM, RATE)
    assert np.array_equal(arrange_beats(loop, np.arange(8), BPM, 8, RATE), loop)
    assert np.array_equal(
        arrange_beats(loop, np.arange(10) % 8, BPM, 8, RATE)[edges[8] - 1 :], loop[np.arange(-1, 44_100)]
    )
    swapped = arrange_beats(loop, np.array([4, 5, 0, 1]), BPM, 8, RATE)
    n_fade = 441
    assert np.array_equal(swapped[: edges[2]], loop[edges[4] : edges[6]])
    assert np.array_equal(swapped[edges[2] + n_fade : edges[4]], loop[n_fade : edges[2]])
    assert swapped[edges[2]] == loop[edges[6]]  # the join begins with what would have come


def test_rules_keep_the_drums_and_move_the_rest(prompt):
    stems, shares = median_filter_stems(prompt), {}
    for name, bars in RULES.items():
        new = apply_rule(stems, BPM, 16, 16, bars)
        assert new.n_samples == prompt.n_samples
        shares[name] = score_new_beats(prompt, new, BPM, 16, 16).new_share
    assert shares["rule, a quarter"] <= shares["rule, half"] <= shares["rule"]
    in_order = apply_rule(stems, BPM, 16, 32, ((0, 1, 2, 3),) * 3)
    assert np.abs(in_order.samples[: prompt.n_samples] - prompt.samples).max() < 1e-5
    assert in_order.n_samples == 2 * prompt.n_samples
    with pytest.raises(AudioError, match="four bars, got 6 beats"):
        apply_rule(stems, BPM, 6, 16, RULES["rule"])


def test_the_jumper_plays_beats_of_the_loop_and_jumps_only_to_similar_ones(prompt):
    distances = np.full((16, 16), 30.0)
    alike = [(2, 10), (10, 2), (5, 13), (13, 5)]
    for a, b in alike:
        distances[a, b] = 0.5
    np.fill_diagonal(distances, 0.0)
    order = jumping_order(distances, 400, seed=1)
    steps = {(int(a), int(b)) for a, b in zip(order[:-1], order[1:], strict=True) if b != (a + 1) % 16}
    assert steps <= {((a - 1) % 16, b) for a, b in alike}
    assert steps
    assert np.array_equal(jumping_order(distances, 50, seed=3), jumping_order(distances, 50, seed=3))
    new = jump(prompt, BPM, 16, 16, seed=0)
    assert new.n_samples == prompt.n_samples
    assert score_new_beats(prompt, new, BPM, 16, 16).new_share < 0.2
