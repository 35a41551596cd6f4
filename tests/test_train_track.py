"""What TensorBoard shows of a run: losses, the use of the codebooks, and sounds."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_model

from melformer.audio.io import Waveform, write_waveform
from melformer.cli.parser import Parser
from melformer.config import PRESETS
from melformer.errors import RequestError
from melformer.hub import save_bundle
from melformer.train import add_arguments, run, tracker

tensorboard = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def train(stage: str, *words: str) -> None:
    parser = Parser()
    add_arguments(parser, stage)
    run(parser.parse_args(["--preset", "tiny", "--no-bf16", "--threads=1", "--batch-size=1", *words],
                          Namespace(stage=stage)))  # fmt: skip


def shown(run_folder: Path) -> tuple[set[str], dict[str, float]]:
    """Names of all curves, and every sound's length in seconds at the last step."""
    events = tensorboard.EventAccumulator(str(run_folder / "track"), {"audio": 0, "scalars": 0}).Reload()
    audio = {name: events.Audio(name)[-1] for name in events.Tags()["audio"]}
    return set(events.Tags()["scalars"]), {name: clip.length_frames / clip.sample_rate for name, clip in audio.items()}


def test_both_stages_can_be_followed(tmp_path: Path) -> None:
    loops = tmp_path / "loops"
    for i in range(6):
        beat = np.arange(4 * 11_025) / 11_025
        sound = 0.5 * np.exp(-(beat % 1.0) * 30) + 0.2 * np.sin((400 + 50 * i) * beat)
        write_waveform(loops / f"{i}_120bpm.wav", Waveform(sound.astype(np.float32), 22_050))
    train("codec", "--data", str(loops), "--steps=20", "--validate-every=10", "--track", "-o", str(tmp_path / "codec"))
    curves, sounds = shown(tmp_path / "codec")
    assert {"train/total", "train/mel", "validation/mel", "validation/used_first", "validation/used_last"} <= curves
    assert set(sounds) == {f"held out {i}/{name}" for i in range(2) for name in ("loop", "decoded")}
    assert len(set(sounds.values())) == 1 and 0.9 < sounds["held out 0/loop"] < 1.5  # two beats, less the delay
    whole = save_bundle(tmp_path / "whole", PRESETS["tiny"], tiny_model().state_dict(), "# Tiny")
    train("transformer", "--data", str(loops), "--codec", str(whole), "--steps=20",
          "--validate-every=20", "--track", "-o", str(tmp_path / "lm"))  # fmt: skip
    curves, sounds = shown(tmp_path / "lm")
    assert {"train/bits_per_beat", "validation/bits_per_beat", "validation/new_beats"} <= curves
    assert sounds["held out 0/continued"] == pytest.approx(6.0, abs=0.01)  # four beats and eight new ones


def test_without_tensorboard_it_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match="needs TensorBoard"):
        train("codec", "--data", str(tmp_path), "--track", "-o", str(tmp_path / "run"))
