"""What generation refuses, each with a sentence: settings, numbers, loops and states that cannot be."""

from pathlib import Path

import pytest
from tiny import loop, tiny_model

from melformer.errors import RequestError, TempoError
from melformer.generate import GenerationConfig, Melformer, StreamState


@pytest.fixture(scope="module")
def model() -> Melformer:
    return tiny_model()


@pytest.mark.parametrize(
    "wish",
    [{"temperature": -1}, {"temperature": float("nan")}, {"top_p": 0.0}, {"top_k": 1.5}, {"variation": 2},
     {"density": "much"}, {"min_p": True}, {"keep": "drums"}, {"mute": ("vocals",)}],
)  # fmt: skip
def test_settings_out_of_range_are_named(wish: dict) -> None:
    with pytest.raises(RequestError, match="|".join([*wish, "vocals"])):
        GenerationConfig(**wish)


@pytest.mark.parametrize("n_beats", [0, -1, 10**9, 1.5, True])
def test_impossible_numbers_of_beats_are_refused(model: Melformer, n_beats: int) -> None:
    with pytest.raises(RequestError, match="beats"):
        model.generate(loop(), n_beats=n_beats, bpm=120)


@pytest.mark.parametrize("bpm", [0, -1, float("nan"), 10_000])
def test_impossible_tempi_are_refused(model: Melformer, bpm: float) -> None:
    with pytest.raises(TempoError):
        model.generate(loop(), bpm=bpm)


def test_too_short_and_too_long_loops(model: Melformer) -> None:
    with pytest.raises(RequestError, match="at least 2"):
        model.prompt(loop(1), bpm=120)
    long = model.prompt(loop(70, 240.0), bpm=240.0)
    assert long.n_beats == 64 and any("70 beats" in message for message in long.messages)


def test_more_than_two_channels_are_refused(model: Melformer) -> None:
    with pytest.raises(RequestError, match="8 channels"):
        model.prompt(loop(4, channels=8), bpm=120)


def test_a_foreign_state_is_refused(model: Melformer, tmp_path: Path) -> None:
    path = tmp_path / "not.stream"
    path.write_bytes(b"nonsense")
    with pytest.raises(RequestError, match="no saved stream"):
        StreamState.load(path)


@pytest.mark.parametrize("damage", ["choices", "caches.0.keys", "stems.other", "held", "index", "config", "asked"])
def test_a_damaged_state_is_refused(model: Melformer, damage: str) -> None:
    stream = model.stream(loop(), seed=1, bpm=120)
    next(stream)
    stream.config = GenerationConfig(draws=(0, 1, 0))
    next(stream)
    state = stream.state()
    tensors, facts = dict(state.tensors), dict(state.facts)
    if damage in tensors:
        tensors[damage] = tensors[damage][:-1] - 10_000
    else:
        facts[damage] = [["x"]] if damage == "asked" else "x"
    with pytest.raises(RequestError, match="damaged"):
        model.resume(StreamState(tensors, facts), 1)
