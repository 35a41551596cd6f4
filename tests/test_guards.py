"""What a take may not become: stuck, of another colour, in another harmony, silent."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import loop, tiny_model

from melformer.audio.wav import Waveform
from melformer.generate import Melformer, Settings
from melformer.generate.compose import MOST_REPEATS, Composer
from melformer.generate.ear import Ear
from melformer.generate.repeats import longest_run
from melformer.generate.strange import MORE_COLOUR, MORE_TONE, Strange

FREE = Settings(variation=1.0)


@pytest.fixture(scope="module", params=[0, 1], ids=["", "partials"])
def model(request: pytest.FixtureRequest) -> Melformer:
    return tiny_model(request.param)


def test_a_take_that_is_stuck_goes_back_to_the_prompt(model: Melformer) -> None:
    prompt = model.prompt(loop(4), bpm=120)
    composer = Composer(model.transformer, prompt, [1, 2], model.ear)
    composer.most_repeats = MOST_REPEATS  # an untrained codec hears the loop's beats as one
    stuck = torch.from_numpy(prompt.codes[[2, 2]])
    for _ in range(MOST_REPEATS + 1):
        assert torch.equal(composer._mended(stuck.clone(), FREE)[0], stuck[0])
        composer.hear(stuck)
    place = (MOST_REPEATS + 1) % 4
    assert np.array_equal(composer._mended(stuck.clone(), FREE)[1].numpy(), prompt.codes[place])
    other = (stuck + 1) % 64
    assert torch.equal(composer._mended(other.clone(), FREE), other)
    one = np.array([1, 2, 2, 1]).reshape(4, 1, 1)
    assert longest_run(one) == 2 and longest_run(one[1:3]) > 1_000


class Tinted(Ear):
    """Hears a colour in the first codebook: a code is worth a hundredth."""

    def colours(self, codes: torch.Tensor) -> np.ndarray:
        return codes[..., 0].float().mean(dim=1, keepdim=True).numpy() / 100.0


def test_a_beat_of_a_colour_that_the_prompt_has_not_goes_back_to_the_prompt(model: Melformer) -> None:
    """The more variation is asked for, the further a beat may go."""
    prompt = model.prompt(loop(4), bpm=120)
    prompt = replace(prompt, codes=np.full_like(prompt.codes, 3) + np.arange(4)[:, None, None])
    tinted = Tinted(model.codec, model.ear.book, model.ear.silent)
    composer = Composer(model.transformer, prompt, [1, 2], tinted)
    composer.most_repeats = 1_000
    at_half = round(100 * MORE_COLOUR)
    beats = torch.stack([torch.full(prompt.codes.shape[1:], 6 + at_half + k) for k in (-1, 1)])
    mended = composer._mended(beats.clone(), Settings(variation=0.5))
    assert torch.equal(mended[0], beats[0]) and np.array_equal(mended[1].numpy(), prompt.codes[0])
    assert torch.equal(composer._mended(beats.clone(), FREE), beats)
    known = torch.from_numpy(prompt.codes[[2, 2]])
    assert torch.equal(composer._mended(known.clone(), Settings(variation=0.01)), known)
    assert not model.ear.colours(known).any()  # the tiny model has no scorer to read them by


class Tuned(Ear):
    """Hears one pitch class, the first code."""

    def chroma(self, codes: torch.Tensor) -> np.ndarray:
        return np.eye(12, dtype=np.float32)[codes[:, 0, 0].numpy()]


def test_a_beat_may_leave_the_harmony_no_further_than_the_prompt_does(model: Melformer) -> None:
    shape = model.prompt(loop(4), bpm=120).codes.shape[1:]
    tuned = Tuned(model.codec, model.ear.book, model.ear.silent)
    still, moving = (
        Strange(tuned, np.broadcast_to(np.array(pitches)[:, None, None], (4, *shape)).copy())
        for pitches in ([0, 4, 0, 4], [0, 4, 0, 7])
    )
    beat = torch.full(shape, 1)
    beat[0] = 9
    assert still.spread == pytest.approx(0.0) and moving.spread == pytest.approx(1.0)
    assert still(beat) == pytest.approx(1.0 / MORE_TONE) and moving(beat) < 1.0
    beat[0] = 4
    assert still(beat) == pytest.approx(0.0)
    deaf = Strange(model.ear, np.zeros((4, *shape), np.int64))  # the tiny model has no scorer to read partials by
    assert deaf(beat) == 0.0


def test_a_take_that_falls_silent_goes_back_to_the_prompt(model: Melformer) -> None:
    """Half a bar of silence is what this prompt has, so a take may have as much, and no more."""
    sound = loop(4).samples.copy()
    sound[len(sound) // 4 : 3 * len(sound) // 4] = 0.0
    prompt = model.prompt(Waveform(sound, loop(4).sample_rate), bpm=120)
    codes = np.zeros_like(prompt.codes)
    codes[0], codes[3] = 1, 2
    composer = Composer(model.transformer, replace(prompt, codes=codes), [1, 2], Ear(model.codec, 0, np.array([5])))
    composer.most_repeats = 1_000
    assert composer.quiet(codes).tolist() == [False, True, True, False] and composer.quiet.longest == 2
    assert composer.quiet(np.full_like(codes, 5)).all() and not composer.quiet(np.full_like(codes, 7)).any()
    for kind in (0, 5):  # soft in the prompt, and silence itself
        pause = torch.full_like(torch.from_numpy(codes[[1, 1]]), kind)
        for _ in range(2):
            assert torch.equal(composer._mended(pause.clone(), FREE), pause)
            composer.hear(pause)
        back = composer._mended(pause.clone(), FREE)
        assert torch.equal(back[1], torch.from_numpy(codes[(composer.n_composed) % 4]))
        for k in (3, 0):
            composer.hear(torch.from_numpy(codes[[k, k]]))
