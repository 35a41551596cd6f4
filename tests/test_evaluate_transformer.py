"""The transformer's part of the report, with a tiny model."""

import dataclasses

import numpy as np
import pytest
import torch

from melformer.config import PRESETS
from melformer.errors import RequestError
from melformer.evaluate import transformer_scores
from melformer.evaluate.transformer_scores import CodePassage
from melformer.transformer.model import BeatTransformer

CONFIG = PRESETS["tiny"]
SIZE, FRAMES, BOOKS = CONFIG.codec.codebook_size, CONFIG.codec.latent_frames_per_beat, CONFIG.codec.n_codebooks


@pytest.fixture(scope="module")
def transformer() -> BeatTransformer:
    torch.manual_seed(0)
    return BeatTransformer(CONFIG.transformer, FRAMES, SIZE).eval()


def passage(n_beats: int, seed: int, loop: bool = False) -> CodePassage:
    codes = np.random.default_rng(seed).integers(0, SIZE, (4 if loop else n_beats, FRAMES, BOOKS))
    return CodePassage(f"p{seed}", np.tile(codes, (n_beats // len(codes), 1, 1)), 120.0, 4)


def test_an_untrained_model_needs_about_the_bits_of_uniform_codes(transformer):
    bits, right = transformer_scores.score_passage(transformer, passage(8, 0))
    assert bits.shape == (8,)
    assert right.shape == (8, BOOKS)
    uniform = FRAMES * BOOKS * np.log2(SIZE)
    assert uniform * 0.9 < bits[0] < uniform * 1.2
    assert right.mean() < 0.1


def test_a_certain_model_needs_no_bits_and_is_right(transformer, monkeypatch):
    """A prediction that is sure of the truth: the bits and the accuracy must say so."""
    one = passage(6, 1)
    steps = transformer.pattern.to_steps(torch.from_numpy(one.codes)[None])
    real = transformer.forward

    def sure(codes, conditioning, chosen, lag_mask=None):
        prediction = real(codes, conditioning, chosen, lag_mask)
        logits = 50.0 * torch.nn.functional.one_hot(steps[:, chosen], SIZE).float()
        return dataclasses.replace(prediction, logits=logits, gates=torch.full_like(prediction.gates, -30.0))

    monkeypatch.setattr(transformer, "forward", sure)
    bits, right = transformer_scores.score_passage(transformer, one)
    assert bits.max() < 0.01
    assert right.min() == 1.0


def test_copying_counts_as_the_models_answer(transformer, monkeypatch):
    """A gate wide open on the beat one bar before: a loop is predicted without its logits."""
    one = passage(8, 2, loop=True)
    real = transformer.forward

    def copying(codes, conditioning, chosen, lag_mask=None):
        prediction = real(codes, conditioning, chosen, lag_mask)
        pointer = torch.full_like(prediction.pointer, -1e9)
        for i, beat in enumerate(chosen.tolist()):
            if beat >= 4:
                pointer[:, i, :, beat - 4] = 0.0
        return dataclasses.replace(prediction, pointer=pointer, gates=torch.full_like(prediction.gates, 30.0))

    monkeypatch.setattr(transformer, "forward", copying)
    assert transformer_scores._top1_round(transformer, [one, passage(7, 3)]) == [1.0, 1.0]
    assert transformer_scores._top1_round(transformer, [passage(7, 3)]) == []
    bits, right = transformer_scores.score_passage(transformer, one)
    assert bits[4:].max() < 0.01
    assert right[4:].min() == 1.0
    assert bits[:4].min() > 100


def test_the_report_splits_repeating_beats_from_new_ones(transformer):
    passages = [passage(8, seed, loop=True) for seed in range(4)] + [passage(8, 9)]
    report = transformer_scores.measure_transformer(transformer, passages)
    assert report.n_beats == 40
    assert report.repeating_share == pytest.approx(16 / 40)
    assert set(report.bits) == {
        "Melformer",
        "unigram",
        "bigram",
        "copy the last beat",
        "copy the last bar",
        "tuned mixture",
    }
    bar = report.bits["copy the last bar"]
    assert bar.repeating < 0.2 * bar.new
    assert report.bits["unigram"].repeating == pytest.approx(report.bits["unigram"].new, rel=0.1)
    assert report.saved_share < 0.1  # it was never trained
    assert len(report.top1_per_codebook) == BOOKS


def test_too_little_material_is_a_named_error(transformer):
    with pytest.raises(RequestError, match="too few"):
        transformer_scores.measure_transformer(transformer, [passage(8, 0), passage(1, 1)])
    bad = CodePassage("bad", np.full((3, FRAMES, BOOKS), SIZE), 120.0, 4)
    with pytest.raises(RequestError, match="codes must"):
        transformer_scores.measure_transformer(transformer, [bad, passage(8, 0)])
