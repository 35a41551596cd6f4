"""Finite but huge weights: the checkpoint is named as the fault, never the user's file, and nothing else is raised."""

import pytest
import torch
from tiny import loop, tiny_model

from melformer.errors import CheckpointError
from melformer.generate import GenerationConfig

NAMES = [name for name, tensor in tiny_model().named_parameters() if tensor.ndim > 1]
CHOSEN = NAMES[:: max(1, len(NAMES) // 16)]


@pytest.mark.parametrize("name", CHOSEN)
@pytest.mark.parametrize("factor", [1e12, 1e30])
def test_a_beat_or_a_sentence(name: str, factor: float) -> None:
    model = tiny_model()
    with torch.no_grad():
        dict(model.named_parameters())[name].mul_(factor)
    try:
        prompt = model.prompt(loop(4), bpm=120)
        beats = list(model.stream(prompt, 2, config=GenerationConfig(variation=1.0)))
        model.reconstruct(loop(4), 120.0)
    except CheckpointError as error:
        assert "checkpoint" in str(error)  # noqa: PT017 - one of both is right
    else:
        assert len(beats) == 2


@pytest.mark.parametrize("factor", [1e12, 1e30])
def test_a_pointer_too(factor: float) -> None:
    for name in [name for name, tensor in tiny_model().pointer.named_parameters() if tensor.ndim > 1][::6]:
        model = tiny_model()
        with torch.no_grad():
            dict(model.pointer.named_parameters())[name].mul_(factor)
        try:
            beats = list(model.stream(loop(4), 1, bpm=120, config=GenerationConfig(variation=1.0)))
        except CheckpointError as error:
            assert "checkpoint" in str(error)  # noqa: PT017 - one of both is right
        else:
            assert len(beats) == 1


def test_the_checkpoint_is_blamed() -> None:
    model = tiny_model()
    with torch.no_grad():
        for parameter in model.pointer.parameters():
            parameter.mul_(1e30)
    with pytest.raises(CheckpointError, match="weights"):
        list(model.stream(loop(4), 2, bpm=120, config=GenerationConfig(variation=1.0)))
