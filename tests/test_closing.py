"""Closing the loop: the end leads back to the beginning, in codes and in sound."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from melformer.audio.io import Waveform
from melformer.config import PRESETS
from melformer.errors import RequestError
from melformer.generate import GenerationConfig, Melformer
from melformer.generate.beat_generator import BeatGenerator
from melformer.generate.closing import compose_ending
from melformer.generate.likelihood import bits_per_beat
from melformer.generate.ranking import fit
from melformer.generate.sampling import mixture
from melformer.runtime.step_decoder import StepDecoder

RATE, BEAT = 22_050, 11_025
FADE = round(0.030 * RATE)

FREE = GenerationConfig(variation=1.0, novelty=10.0)


@pytest.fixture(scope="module")
def model() -> Melformer:
    torch.manual_seed(0)
    return Melformer(PRESETS["tiny"])


def loop(n_beats: int = 8) -> Waveform:
    """A tone that fits its length exactly, so that it can itself be played round."""
    time = np.arange(n_beats * BEAT) / RATE
    tone = 0.3 * np.sin(2 * np.pi * 220 * time) * (1.2 + np.sin(np.pi * time))
    return Waveform(np.stack([tone, 0.5 * tone], axis=1).astype(np.float32), RATE)


def steepest(samples: np.ndarray) -> float:
    """The largest step between neighbours."""
    return float(np.abs(np.diff(samples, axis=0)).max())


@pytest.mark.parametrize("only_new", [False, True])
@pytest.mark.parametrize("own_sound", [0.0, 1.0])
def test_played_round_there_is_no_click(model: Melformer, only_new: bool, own_sound: float) -> None:
    settings = GenerationConfig(own_sound=own_sound, variation=1.0, novelty=10.0)
    result = model.continue_loop(loop(), 4, seed=1, bpm=120, settings=settings, close_loop=True, only_new=only_new)
    piece = (result.new if only_new else result.waveform).samples
    seam = np.concatenate([piece[-300:], piece[:300]])
    assert steepest(seam) <= 1.1 * steepest(piece)


def test_the_sound_before_the_seam_is_what_precedes_the_head(model: Melformer) -> None:
    """The very last sample is the prompt's own last, which leads into its first."""
    result = model.continue_loop(loop(), 8, seed=1, bpm=120, close_loop=True, settings=FREE)
    prompt = result.prompt.waveform.samples
    assert np.allclose(result.waveform.samples[-4:], prompt[-4:], atol=1e-3)
    assert np.array_equal(result.waveform.samples[: len(prompt) - FADE], prompt[:-FADE])
    open_end = model.continue_loop(loop(), 8, seed=1, bpm=120, settings=FREE)
    assert result.waveform.n_samples == open_end.waveform.n_samples
    assert np.array_equal(result.codes[:4], open_end.codes[:4])  # only the last bar is chosen anew


def test_the_ending_is_the_candidate_after_which_the_head_is_likeliest(model: Melformer) -> None:
    prompt = model.prompt(loop(), bpm=120)
    generator = BeatGenerator(model.transformer, prompt, [5], model.code_features)
    before = generator.history(0, 64)[0]
    assert torch.equal(before, torch.from_numpy(prompt.codes))
    ending = compose_ending(generator, 0, 4, prompt.codes[:4], FREE)
    assert len(ending.seam_bits) > 1 and ending.seam_bits.std() > 0
    codes = torch.cat([before, ending.codes, torch.from_numpy(prompt.codes[:4])])[None]
    positions = torch.tensor([generator.bar_position(i) for i in range(codes.shape[1])])
    bits = bits_per_beat(model.transformer, codes, generator.tempo, positions, torch.arange(12, 16))
    assert float(bits.mean()) == pytest.approx(float(ending.seam_bits.min()), rel=1e-4)
    assert torch.equal(generator.history(0, 64)[0], before)  # candidates leave the take as it was


def test_candidate_0_is_what_the_take_would_have_played(model: Melformer) -> None:
    prompt = model.prompt(loop(), bpm=120)
    generator = BeatGenerator(model.transformer, prompt, [3, 4], model.code_features)
    fork = generator.fork(1, 5)
    alternatives = fork.decode_beat(GenerationConfig(temperature=2.0, variation=1.0, novelty=10.0, min_p=0.0))
    own = generator.decode_beat(GenerationConfig(temperature=2.0, variation=1.0, novelty=10.0, min_p=0.0))
    assert torch.equal(alternatives[0], own[1])
    # Those that do not fit the loop are the loop's own beat, so some may be alike, but never all.
    assert len({tuple(codes.flatten().tolist()) for codes in alternatives}) > 1


def test_takes_close_as_each_alone_and_a_closed_stream_goes_on(model: Melformer) -> None:
    prompt = model.prompt(loop(), bpm=120)
    takes = model.takes(prompt, 8, [1, 2], FREE, close_loop=True, only_new=True)
    alone = model.continue_loop(prompt, 8, seed=2, close_loop=True, only_new=True, settings=FREE)
    assert np.array_equal(takes[1].codes, alone.codes)
    assert np.abs(takes[1].new.samples - alone.new.samples).max() < 1e-5
    assert alone.state is not None
    more = list(model.resume(alone.state, 2))
    assert [beat.index for beat in more] == [8, 9]
    assert np.array_equal(more[0].codes, alone.codes[:1])  # the head is what follows the seam


def test_likelihood_is_that_of_the_steps(model: Melformer) -> None:
    """Judging a beat all at once agrees with the probabilities that composing step by step draws from."""
    prompt = model.prompt(loop(), bpm=120)
    generator, transformer = BeatGenerator(model.transformer, prompt, [0], model.code_features), model.transformer
    state, speaker, bits = generator.state.rows(torch.arange(2)), StepDecoder(transformer, 2), 0.0
    codes = torch.cat([torch.from_numpy(prompt.codes), generator.decode_beat(FREE)])
    steps = transformer.pattern.to_steps(codes[8]).numpy()
    speaker.begin(state)
    for step, (first, last) in enumerate(speaker.spans):
        prediction = speaker.step(step, np.stack([steps[step - 1]] * 2) if step else None)
        probabilities = mixture(prediction, 1, 0.5)[0]
        bits -= float(np.log2(probabilities[np.arange(last - first), steps[step, first:last]]).sum())
    positions = torch.tensor([generator.bar_position(i) for i in range(9)])
    judged = bits_per_beat(transformer, codes[None], generator.tempo, positions, torch.tensor([8]))
    assert float(judged[0, 0]) == pytest.approx(bits, rel=1e-3)


@pytest.mark.parametrize(("bpm", "n_beats"), [(120.0, None), (120.0, 1), (200.0, 7)])
def test_what_cannot_be_closed_is_refused(model: Melformer, bpm: float, n_beats: int | None) -> None:
    with pytest.raises(RequestError, match=r"clos"):
        model.stream(loop(), n_beats, bpm=bpm, close_loop=True)


def test_takes_are_ranked_by_surprise_and_drift(model: Melformer) -> None:
    prompt = model.prompt(loop(), bpm=120)
    takes = model.takes(prompt, 8, [1, 2, 3], FREE)
    loud = replace(takes[0], new=Waveform(takes[0].new.samples * np.float32(8.0), RATE))
    same = replace(takes[0], codes=prompt.codes, new=prompt.waveform)  # the loop again: nothing drifts
    assert abs(fit(model.transformer, same).level_db) < 1.0 and abs(fit(model.transformer, same).centroid_octaves) < 0.1
    plain = fit(model.transformer, takes[0]).level_db
    assert fit(model.transformer, loud).level_db == pytest.approx(plain + 18.06, abs=0.1)
    order = model.ranked([loud, same])
    assert order[0] is same and order[1] is loud
    assert {take.seed for take in model.ranked(takes)} == {1, 2, 3}
    judged = fit(model.transformer, takes[1])
    codes = torch.cat([torch.from_numpy(prompt.codes), torch.from_numpy(takes[1].codes)])[None]
    bits = bits_per_beat(model.transformer, codes, 0.0, torch.arange(16) % 4, torch.arange(8, 16))
    assert judged.bits == pytest.approx(float(bits.mean()), rel=1e-4)
