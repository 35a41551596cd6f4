"""Tokens are written once, whole, by any number of processes; trainings start from them and from checkpoints."""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from melformer.audio.io import Waveform, read_waveform, write_waveform
from melformer.cli import main
from melformer.cli.parser import Parser
from melformer.codec.codec import Codec
from melformer.config import PRESETS
from melformer.data.token_dataset import MOST_ROUND, loop_codes, passage_at
from melformer.data.tokens import token_facts, tokenise
from melformer.errors import CheckpointError, RequestError
from melformer.generate import Melformer
from melformer.hub import load_bundle, save_bundle
from melformer.train import add_arguments, run
from melformer.train.pretrained import read_codec

TINY = PRESETS["tiny"]


@pytest.fixture(scope="module")
def loops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven noisy loops of four to ten beats with the tempo in their names."""
    folder = tmp_path_factory.mktemp("loops")
    rng = np.random.default_rng(0)
    for i in range(7):
        bpm, n_beats = 100 + 10 * i, 2 + i % 3
        samples = 0.1 * rng.standard_normal(round(n_beats * 60 / bpm * 22_050))
        write_waveform(folder / f"loop_{bpm}bpm.wav", Waveform(samples.astype(np.float32), 22_050))
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint with random weights."""
    torch.manual_seed(1)
    tensors = {name: tensor.half() if tensor.is_floating_point() else tensor
               for name, tensor in Melformer(TINY).state_dict().items()}  # fmt: skip
    return save_bundle(tmp_path_factory.mktemp("bundle"), TINY, tensors, "# tiny\n")


@pytest.fixture(scope="module")
def codec(bundle: Path) -> Codec:
    return read_codec(bundle).codec


@pytest.fixture(scope="module")
def tokens(loops: Path, codec: Codec, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    assert tokenise(codec, [loops], folder, codec_name=str(bundle)) == 7
    return folder


def all_codes(folder: Path) -> dict[str, np.ndarray]:
    entries = [json.loads(line) for line in (folder / "clips.jsonl").read_text().splitlines()]
    return {entry["name"]: np.array(loop_codes(folder, entry)) for entry in entries}


def assert_same(a: Path, b: Path) -> None:
    first, second = all_codes(a), all_codes(b)
    assert list(first) == list(second)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_shard_holds_the_codes_of_its_loops(loops: Path, codec: Codec, tokens: Path) -> None:
    for line in (tokens / "clips.jsonl").read_text().splitlines():
        entry = json.loads(line)
        codes = codec.encode_loop(read_waveform(loops / entry["source"]), entry["bpm"])
        assert np.array_equal(loop_codes(tokens, entry), codes)
    assert len(list(tokens.glob("shard-*.npy"))) < 7


def test_two_workers_write_what_one_does(loops: Path, codec: Codec, tokens: Path, tmp_path: Path) -> None:
    tokenise(codec, [loops], tmp_path, workers=2)
    assert_same(tokens, tmp_path)


def test_an_interrupted_pass_goes_on(loops: Path, codec: Codec, tokens: Path, tmp_path: Path) -> None:
    tokenise(codec, [loops], tmp_path)
    listing = tmp_path / "clips.jsonl"
    listing.write_text(listing.read_text()[:-20])  # a kill tears the last line
    assert tokenise(codec, [loops], tmp_path) == 7
    assert_same(tokens, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("shard-*")}
    tokenise(codec, [loops], tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("shard-*")}


def test_another_codecs_tokens_are_refused(loops: Path, tokens: Path) -> None:
    torch.manual_seed(2)
    with pytest.raises(CheckpointError, match="another codec"):
        tokenise(Codec(TINY.codec), [loops], tokens)
    with pytest.raises(CheckpointError, match="another codec"):
        token_facts(tokens, Codec(TINY.codec))
    with pytest.raises(RequestError, match="workers is 0"):
        tokenise(Codec(TINY.codec), [loops], tokens, workers=0)


def test_what_cannot_be_read_is_left_out(loops: Path, codec: Codec, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "broken_120bpm.wav").write_bytes(b"RIFF")
    with pytest.raises(RequestError, match="None of 1 loops"):
        tokenise(codec, [tmp_path / "in"], tmp_path / "out")
    (tmp_path / "in" / "loop_120bpm.wav").write_bytes((loops / "loop_120bpm.wav").read_bytes())
    assert tokenise(codec, [tmp_path / "in"], tmp_path / "out") == 1


def transformer_arguments(*words: str) -> Namespace:
    parser = Parser()
    add_arguments(parser, "transformer")
    return parser.parse_args(["--threads=1", "--no-bf16", *words], Namespace(stage="transformer"))


def test_the_commands_start_from_tokens_and_a_bundle(loops: Path, bundle: Path, tmp_path: Path) -> None:
    tokens, out = str(tmp_path / "tokens"), tmp_path / "run"
    assert main(["train", "tokens", "--data", str(loops), "--codec", str(bundle), "-o", tokens]) == 0
    run(transformer_arguments("--tokens", tokens, "--init", str(bundle), "-o", str(out), "--steps=1", "--lr=1e-9"))
    before, after = load_bundle(bundle), load_bundle(out / "checkpoint")
    assert before.config == after.config
    for name, tensor in before.tensors.items():
        assert torch.allclose(tensor.float(), after.tensors[name].float(), atol=1e-4), name
    assert "Fine-tuned from" in (out / "checkpoint" / "README.md").read_text()
    assert not (out / "beats").exists() and not (out / "corpus").exists()


def test_a_misfit_start_is_named(bundle: Path, tokens: Path, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(CheckpointError, match="holds neither"):
        read_codec(tmp_path / "x")
    with pytest.raises(CheckpointError, match="holds no tokens"):
        run(transformer_arguments("--tokens", str(tmp_path / "x"), "-o", str(tmp_path / "run")))


def test_bars_that_come_back_leave_again() -> None:
    codes = np.arange(64).reshape(64, 1, 1)
    for seed in range(20):
        passage, _, positions = passage_at(codes, 120.0, 4, 40, np.random.default_rng(seed), played_round=1.0)
        beats = passage[:, 0, 0]
        returns = np.flatnonzero(np.diff(beats) != 1) + 1
        assert 1 <= len(returns) <= MOST_ROUND
        assert set(beats[returns]) == {beats[0]}
        assert len(beats) - returns[-1] > returns[0] or returns[-1] + returns[0] > len(beats)
        np.testing.assert_array_equal(positions, beats % 4)
