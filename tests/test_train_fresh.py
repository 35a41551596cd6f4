"""Training on music that is composed for the step: other music every time, the same again after a stop."""

import itertools
import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_model

from melformer.audio.io import Waveform, write_waveform
from melformer.cli.parser import Parser
from melformer.codec.codec import Codec
from melformer.config import PRESETS
from melformer.corpus import Passage, iterate
from melformer.data import fresh
from melformer.data.fresh import FreshBeats, FreshTokens
from melformer.hub import save_bundle
from melformer.hub.codec_folder import CODEC_FILE
from melformer.train import add_arguments, run

CONFIG = PRESETS["tiny"].codec


@pytest.fixture(autouse=True)
def short_passages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops of two players at most, without what is installed: the engine's music is tested elsewhere."""
    monkeypatch.setattr(fresh, "iterate", lambda seed: iterate(seed, styles=["waltz"], long=0.0, kinds=frozenset()))


def test_crops_are_a_function_of_the_step_and_never_come_twice() -> None:
    beats = FreshBeats(CONFIG.samples_per_beat)
    first, again, other = (beats.crops(np.random.default_rng([0, step]), 3, 2) for step in (1, 1, 2))
    assert first.shape == (3, 2, CONFIG.samples_per_beat) and first.dtype == np.float32
    assert np.array_equal(first, again)
    assert np.isfinite(first).all() and all(np.abs(crop).max() > 0.001 for crop in first)
    assert not np.array_equal(first, other)


def test_no_step_or_process_hears_what_another_one_hears() -> None:
    draws = [np.random.default_rng([0, step, rank, 0]) for step in (0, 1) for rank in (0, 1)]
    heard = {passage.fingerprint() for rng in draws for passage, _ in itertools.islice(fresh.passages(rng), 2)}
    assert len(heard) == 2 * len(draws)


def test_tokens_of_the_moment_have_a_batchs_shape() -> None:
    torch.manual_seed(0)
    codec = Codec(CONFIG).eval()
    batch, again = (FreshTokens(codec).batch(np.random.default_rng(5), 2, 8) for _ in range(2))
    assert batch.codes.shape == (2, 8, CONFIG.latent_frames_per_beat, CONFIG.n_codebooks)
    assert batch.tempo.shape == (2,) and batch.bar_positions.shape == (2, 8)
    assert torch.equal(batch.codes, again.codes)


def write_held_out(folder: Path) -> None:
    for name in ("a", "b"):
        clicks = 0.5 * np.exp(-((np.arange(4 * 22_050) / 11_025) % 1.0) * 30).astype(np.float32)
        write_waveform(folder / f"{name}_120bpm.wav", Waveform(clicks, 22_050))


def learned_codec(folder: Path, monkeypatch: pytest.MonkeyPatch, gain: float) -> dict[str, torch.Tensor]:
    """The weights after two steps on music that is composed for them, and louder or softer by `gain`."""

    def composed(seed: int) -> Iterator[tuple[Passage, Waveform]]:
        for passage, waveform in iterate(seed, styles=["waltz"], long=0.0, kinds=frozenset()):
            yield passage, Waveform(waveform.samples * np.float32(gain), waveform.sample_rate)

    monkeypatch.setattr(fresh, "iterate", composed)
    parser = Parser()
    add_arguments(parser, "codec")
    few = ("--fresh", "--preset", "tiny", "--data", str(folder / "held"), "--steps", "2", "--batch-size", "2")
    out = folder / f"run{len(list(folder.iterdir()))}"
    run(parser.parse_args([*few, "-o", str(out)], Namespace(stage="codec")))
    return load_file(out / "checkpoint" / CODEC_FILE)


def test_what_is_learned_is_the_fresh_music(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same music gives the same weights; other music, beside the same held-out loops, gives others."""
    write_held_out(tmp_path / "held")
    first, again, other = (learned_codec(tmp_path, monkeypatch, gain) for gain in (1.0, 1.0, 0.25))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert sum(not torch.equal(first[name], other[name]) for name in first) > len(first) / 2


def test_both_stages_train_on_fresh_music(tmp_path: Path) -> None:
    write_held_out(tmp_path / "held")
    whole = save_bundle(tmp_path / "whole", PRESETS["tiny"], tiny_model().state_dict(), "# Tiny")
    few = ("--fresh", "--preset", "tiny", "--data", str(tmp_path / "held"), "--steps", "2", "--batch-size", "2")
    for stage, more in (("codec", ()), ("transformer", ("--codec", str(whole)))):
        parser = Parser()
        add_arguments(parser, stage)
        run(parser.parse_args([*few, *more, "-o", str(tmp_path / stage)], Namespace(stage=stage)))
    assert json.loads((tmp_path / "codec" / "plan.json").read_text())["fresh"]
    card = (tmp_path / "transformer" / "checkpoint" / "README.md").read_text()
    assert "CC0-1.0" in card and "Melformer's own synthesis" in card
