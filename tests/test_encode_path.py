"""One way from sound to codes: what is evaluated, what training learns from and what a prompt holds are one array."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import loop, tiny_model

from melformer.audio.io import read_waveform, write_waveform
from melformer.cli import main
from melformer.codec.codec import Codec
from melformer.config import PRESETS, Config
from melformer.data.token_dataset import loop_codes
from melformer.data.tokens import tokenise
from melformer.evaluate.sets import read_clip
from melformer.generate import Melformer
from melformer.hub import save_bundle

ROOT = Path(__file__).resolve().parents[1]
TEMPI = [(44.0, 4), (75.3, 4), (89.94, 3), (119.92, 5), (178.0, 4), (200.0, 8), (203.7, 7)]
"""Below, inside and above the octave of the model's tempo; seven beats above it leave an odd one out."""


def codes_of_a_shard(codec: Codec, folder: Path, out: Path) -> np.ndarray:
    """What `melformer train tokens` writes of the one loop of a folder."""
    assert tokenise(codec, [folder], out) == 1
    entry = json.loads((out / "clips.jsonl").read_text())
    return np.array(loop_codes(out, entry))


@pytest.mark.parametrize(("bpm", "n_beats"), TEMPI)
def test_prompt_training_and_evaluation_share_their_codes(bpm: float, n_beats: int, tmp_path: Path) -> None:
    model = tiny_model()
    path = tmp_path / "in" / f"loop_{bpm:g}bpm.wav"
    write_waveform(path, loop(n_beats, bpm), bpm=bpm)
    prompt = model.prompt(path)
    assert (prompt.bpm, prompt.n_beats) == (bpm, n_beats)
    clip = read_clip(path)
    evaluated = model.codec.encode_loop(clip.waveform.mono(), clip.bpm)
    learned = codes_of_a_shard(model.codec, path.parent, tmp_path / "tokens")
    assert len(prompt.codes) == int(n_beats * prompt.model_beats_per_beat)
    assert np.array_equal(evaluated, prompt.codes)
    assert np.array_equal(learned, prompt.codes)
    assert np.array_equal(model.encode(read_waveform(path), bpm), prompt.codes)


def test_the_commands_share_them_too(tmp_path: Path) -> None:
    model = tiny_model()
    folder = save_bundle(tmp_path / "model", model.config, model.state_dict(), "a card")
    path, out = tmp_path / "loop_200bpm.wav", tmp_path / "tokens.npz"
    write_waveform(path, loop(6, 200.0), bpm=200.0)
    assert main(["tokens", str(path), "--model", str(folder), "-o", str(out)]) == 0
    loaded = Melformer.from_pretrained(folder)
    with np.load(out) as saved:
        assert np.array_equal(saved["codes"], loaded.codec.encode_loop(read_waveform(path), 200.0))


def test_mixed_precision_of_a_training_does_not_change_codes() -> None:
    model = tiny_model()
    plain = model.codec.encode_loop(loop(), 120.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(model.codec.encode_loop(loop(), 120.0), plain)


def test_the_shipped_model_shares_them_on_an_example(tmp_path: Path) -> None:
    model = Melformer.from_pretrained()
    path = ROOT / "examples" / "funk_100bpm.flac"
    prompt = model.prompt(path)
    clip = read_clip(path)
    assert np.array_equal(model.codec.encode_loop(clip.waveform, clip.bpm), prompt.codes)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / path.name).write_bytes(path.read_bytes())
    assert np.array_equal(codes_of_a_shard(model.codec, tmp_path / "in", tmp_path / "tokens"), prompt.codes)


def test_the_reconstruction_of_a_loop_is_as_long_as_its_beats() -> None:
    codec = tiny_model().codec
    for bpm, n_beats in ((120.0, 4), (203.7, 7)):
        sound = loop(n_beats, bpm)
        assert codec.reconstruct(sound, bpm).samples.shape == (sound.n_samples, 1)


def test_base_is_what_ships() -> None:
    assert Config.load(ROOT / "checkpoints" / "config.json") == PRESETS["base"]


def test_tiny_has_every_part_that_ships() -> None:
    """The same tensors, by name but for how often a block is repeated."""

    def parts(config: Config) -> set[str]:
        return {".".join("*" if word.isdigit() else word for word in name.split("."))
                for name in Melformer(config).state_dict()}  # fmt: skip

    assert parts(PRESETS["tiny"]) == parts(PRESETS["base"])


BEAT_WORDS = ("bpm", "beat", "tempo", "period", "rate")
OWNER = ROOT / "melformer" / "audio" / "grid.py"


def sixties(tree: ast.AST) -> list[int]:
    """Lines where a product or quotient has the number 60 and something to do with beats in it."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
            inside = list(ast.walk(node))
            names = [getattr(n, "id", getattr(n, "attr", "")) or "" for n in inside]
            names += [str(n.value) for n in inside if isinstance(n, ast.Constant)]
            by_sixty = any(isinstance(n, ast.Constant) and n.value in (60, 60.0) for n in (node.left, node.right))
            if by_sixty and any(word in name.lower() for name in names for word in BEAT_WORDS):
                found.append(node.lineno)
    return found


def test_nobody_else_divides_sixty_by_a_tempo() -> None:
    assert sixties(ast.parse("a = 60 / bpm")) and sixties(ast.parse("n = len(x) * self.bpm / 60.0 / rate"))
    assert sixties(ast.parse("n = round(entry['n_beats'] * 60.0 / entry['bpm'])"))
    assert not sixties(ast.parse("s = 60 * minutes + 38.0 * t")) and not sixties(ast.parse("h = bpm / 120"))
    files = [path for path in (ROOT / "melformer").rglob("*.py") if path != OWNER]
    assert len(files) > 100
    places = {f"{path.relative_to(ROOT)}:{line}" for path in files for line in sixties(ast.parse(path.read_text()))}
    assert not places, "BeatGrid has these conversions"
