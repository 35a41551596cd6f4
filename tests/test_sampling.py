"""From predictions to codes: what is drawn follows the probabilities, the limits, and how much is to be copied."""

import numpy as np
import pytest

from melformer.generate.mixes.sampling import MixConfig, mixture, sample_codes, sample_step
from melformer.generate.mixes.step_decoder import StepPrediction


def test_sampling_follows_probabilities_and_limits() -> None:
    probabilities = np.array([[[0.05, 0.3, 0.5, 0.15], [0.5, 0.3, 0.15, 0.05]]], np.float32)
    draws = (np.arange(1_000) + 0.5) / 1_000

    def counts(settings: MixConfig) -> list[int]:
        drawn = [int(sample_codes(probabilities, settings, np.array([[0.2, d]]))[0, 1]) for d in draws]
        return [drawn.count(i) for i in range(4)]

    assert counts(MixConfig(temperature=1.0, min_p=0.0)) == [500, 300, 150, 50]
    assert counts(MixConfig(temperature=1.0, min_p=0.0, top_k=2)) == [625, 375, 0, 0]
    assert counts(MixConfig(temperature=1.0, min_p=0.0, top_p=0.75)) == [625, 375, 0, 0]
    assert counts(MixConfig(temperature=1.0, min_p=0.2))[3] == 0
    assert counts(MixConfig(temperature=0.0)) == [1_000, 0, 0, 0]
    cold = counts(MixConfig(temperature=0.5, min_p=0.0))
    assert cold == [685, 247, 61, 7]  # the squares: 0.25, 0.09, 0.0225, 0.0025 of 0.365


def test_variation_moves_from_copying_to_new() -> None:
    weights, remembered = np.array([[0.6, 0.3]], np.float32), np.array([[[1, 2], [3, 4]]])
    prediction = StepPrediction(np.zeros((1, 2, 8), np.float32), np.zeros((1, 2), np.float32), weights, remembered)
    for variation in (0.25, 0.5, 1.0):
        assert np.allclose(mixture(prediction, variation).sum(-1), 1.0, atol=1e-5)
    shares = [float(mixture(prediction, v)[0, 0, 1]) for v in (0.2, 0.5, 0.8, 1.0)]
    assert shares == sorted(shares, reverse=True) and shares[-1] < 0.2


def predicted(rows: int, weights: list[float], logits: np.ndarray, gate: float = 0.0) -> StepPrediction:
    """The same for each of some rows: one codebook, whose code 7 the remembered beats have, and so many logits."""
    return StepPrediction(
        np.tile(logits, (rows, 1, 1)), np.full((rows, 1), gate, np.float32),
        np.tile(np.float32(weights), (rows, 1)), np.full((rows, len(weights), 1), 7),
    )  # fmt: skip


def test_temperature_1_is_the_models_own_distribution() -> None:
    """In the choice between copied and new and in the codes of either part."""
    rows, logits = 20_000, np.random.default_rng(0).standard_normal(12).astype(np.float32)
    prediction = predicted(rows, [0.5, 0.2], logits, gate=0.4)
    draws = ((np.arange(rows) + 0.5) / rows)[:, None]
    config = MixConfig(temperature=1.0, min_p=0.0)
    shares = np.bincount(sample_step(prediction, config, draws)[:, 0], minlength=12) / rows
    gate = 1.0 / (1.0 + np.exp(-0.4))
    expected = (1.0 - 0.7 * gate) * np.exp(logits) / np.exp(logits).sum()
    expected[7] += 0.7 * gate
    assert np.abs(shares - expected).max() < 2.0 / rows  # the draws are equally spaced: rounding at either end
    assert np.allclose(mixture(prediction, 0.5)[0, 0], expected, atol=1e-6)


@pytest.mark.parametrize("weights", [[0.9], [1e-9]], ids=["one beat to copy", "none"])
def test_what_is_new_is_drawn_as_often_as_the_gate_says(weights: list[float]) -> None:
    """Each of many new codes is far less likely than the one that can be copied, and min_p would leave them all out."""
    rows = 2_000
    prediction = predicted(rows, weights, np.zeros(512, np.float32))
    draws = ((np.arange(rows) + 0.5) / rows)[:, None]
    said = {t: sample_step(prediction, MixConfig(temperature=t), draws) for t in (0.2, 1.0)}
    shares = {t: float((codes == 7).mean()) for t, codes in said.items()}
    assert shares[1.0] == pytest.approx(0.5 * round(weights[0], 1), abs=0.01)
    assert shares[0.2] <= shares[1.0] and len(np.unique(said[1.0])) > 400
    coldest = sample_step(prediction, MixConfig(temperature=0.0), draws)
    assert (coldest == (7 if weights[0] > 0.5 else 0)).all()
