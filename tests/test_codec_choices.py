"""The codec's choices, before minutes are spent on each: all of them give codecs that can be trained and measured."""

import pytest
import torch

from melformer.codec.codec import Codec
from melformer.train.codec_choices import CHOICES, configuration, rotate


@pytest.mark.parametrize("name", list(CHOICES))
def test_a_choice_gives_a_codec_that_says_beats(name: str) -> None:
    config = configuration(CHOICES[name]).codec
    codec = Codec(config)
    outcome = codec(0.1 * torch.randn(1, 2, config.work_samples_per_beat))
    assert outcome.samples.shape == (1, 2 * config.work_samples_per_beat)
    assert outcome.quantized.codes.shape == (1, 2 * config.latent_frames_per_beat, config.n_codebooks)
    assert max(CHOICES[name].depths) == config.n_codebooks


def test_the_rotation_gives_the_entry_and_turns_the_gradient() -> None:
    torch.manual_seed(0)
    projected = torch.randn(5, 8, dtype=torch.float64, requires_grad=True)
    entries = torch.randn(5, 8, dtype=torch.float64)
    passed = rotate(projected, entries)
    assert torch.allclose(passed, entries, atol=1e-5)
    (towards,) = torch.autograd.grad(passed, projected, entries)  # longer there is longer here
    along = torch.nn.functional.cosine_similarity(towards, projected, dim=-1)
    assert torch.allclose(along, torch.ones(5, dtype=torch.float64), atol=1e-6)
