"""The predictors that a transformer must beat: proper probabilities, tuned mixtures."""

import numpy as np
import pytest

from melformer.errors import RequestError
from melformer.evaluate import baselines

SIZE, FRAMES, BOOKS = 8, 4, 2


def random_codes(n_beats: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, SIZE, (n_beats, FRAMES, BOOKS))


def looped(n_beats: int, bar: int = 4, seed: int = 0) -> np.ndarray:
    return np.tile(random_codes(bar, seed), (n_beats // bar, 1, 1))


def test_uniform_codes_cost_log2_of_the_codebook():
    statistics = baselines.count([random_codes(4000)], SIZE)
    per_beat = baselines.bits(baselines.unigram(random_codes(200, seed=1), statistics)).mean()
    assert per_beat == pytest.approx(FRAMES * BOOKS * 3, rel=0.01)  # log2(8) = 3 bits a code


def test_probabilities_of_each_predictor_sum_to_one():
    statistics = baselines.count([random_codes(3, seed=s) for s in range(3)], SIZE)  # few counts: all back-offs occur
    codes = random_codes(3, seed=9)
    for predict in (
        lambda c: baselines.unigram(c, statistics),
        lambda c: baselines.bigram(c, statistics),
        lambda c: baselines.recent(c, SIZE),
    ):
        total = 0.0
        for value in range(SIZE):  # every value that the last code could have had
            changed = codes.copy()
            changed[-1, -1, 0] = value
            total += predict(changed)[-1, -1, 0]
        assert total == pytest.approx(1)


def test_bigram_learns_what_follows_what():
    steps = np.arange(4000 * FRAMES) % SIZE
    codes = np.repeat(steps.reshape(4000, FRAMES, 1), BOOKS, axis=2)
    statistics = baselines.count([codes], SIZE)
    assert baselines.bits(baselines.bigram(codes[:50], statistics))[1:].max() < 0.1
    assert baselines.bits(baselines.unigram(codes[:50], statistics)).mean() > 20


def test_copies_know_a_loop_and_only_from_its_lag_on():
    codes = looped(16)
    assert baselines.copy(codes, 4)[4:].all()
    assert not baselines.copy(codes, 4)[:4].any()
    assert not baselines.copy(codes, 99).any()
    statistics = baselines.count([random_codes(100)], SIZE)
    train = [baselines.components(looped(16, seed=s), statistics, 4) for s in range(3)]
    test = baselines.components(looped(16, seed=7), statistics, 4)
    per_beat = {
        name: baselines.bits(baselines.mix(test, baselines.tune(train, parts)))
        for name, parts in baselines.BASELINES.items()
    }
    assert per_beat["copy the last bar"][4:].max() < 0.1  # 8 codes at a trust of 0.999 each
    assert per_beat["copy the last bar"][:4] == pytest.approx(per_beat["unigram"][:4])  # nothing to copy yet
    assert per_beat["unigram"].mean() > 20


def test_the_tuned_mixture_is_no_worse_than_its_parts_on_what_it_was_tuned_on():
    half = [np.concatenate([looped(8, seed=s), random_codes(8, seed=s + 50)]) for s in range(4)]
    statistics = baselines.count(half, SIZE)
    parts = [baselines.components(codes, statistics, 4) for codes in half]
    cost = {
        name: np.mean([baselines.bits(baselines.mix(p, baselines.tune(parts, names))).mean() for p in parts])
        for name, names in baselines.BASELINES.items()
    }
    assert cost["tuned mixture"] < 1.02 * min(cost.values())  # the floor of 1e-3 a component costs a little


def test_repeating_finds_exact_and_near_repeats():
    codes = np.concatenate([looped(8), random_codes(1, seed=3)])
    assert baselines.repeating(codes).tolist() == [False] * 4 + [True] * 4 + [False]
    codes[5, 0, 0] = (codes[5, 0, 0] + 1) % SIZE
    assert not baselines.repeating(codes)[5]
    assert baselines.repeating(codes, min_share=0.8)[5]


def test_wrong_codes_are_named_errors():
    statistics = baselines.count([random_codes(3)], SIZE)
    with pytest.raises(RequestError, match="at least one passage"):
        baselines.count([], SIZE)
    for bad in (
        np.zeros((2, 2)),
        np.zeros((1, 2, 2)),
        np.full((1, FRAMES, BOOKS), SIZE),
        np.zeros((0, 1, 1), int),
    ):
        with pytest.raises(RequestError, match="codes must"):
            baselines.count([bad], SIZE)
        with pytest.raises(RequestError, match="codes must"):
            baselines.components(bad, statistics, 4)
