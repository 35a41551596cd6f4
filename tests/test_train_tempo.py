"""The beat tracker in training: clips that know their grid, a run that resumes bit for bit, weights that find tempi."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from midi_files import band, write_midi
from test_tempo import drums
from test_train import arguments

from melformer.audio.grid import seconds_per_beat
from melformer.audio.mel import N_BANDS
from melformer.audio.tempo import find_tempo
from melformer.audio.tempo.beat_network import run_network
from melformer.errors import MidiError
from melformer.hub.parts import load_tracker
from melformer.train import run
from melformer.train.tempo.tempo_batches import draw_batch, plain_batch, targets
from melformer.train.tempo.tempo_material import FEW_SHARE, ClipGrid, examples, load_examples, save_examples
from melformer.train.tempo.tempo_network import TEMPO_NETWORKS, TempoNetwork
from melformer.train.tempo.tempo_task import split_midi


@pytest.mark.parametrize("n_frames", [400, 402, 37])
def test_numpy_computes_what_torch_trains(n_frames: int) -> None:
    torch.manual_seed(0)
    network = TempoNetwork(TEMPO_NETWORKS["tiny"]).eval()
    x = np.random.default_rng(0).uniform(-1, 1, (n_frames, N_BANDS)).astype(np.float32)
    found = run_network(x, network.arrays())
    padded = np.zeros((1, N_BANDS, -(-n_frames // 4) * 4), np.float32)
    padded[0, :, :n_frames] = x.T
    mask = torch.zeros(1, 1, padded.shape[2])
    mask[..., :n_frames] = 1.0
    with torch.no_grad():
        frames, tempo, metre = network(torch.from_numpy(padded), mask)
    mine = np.stack([found.beat, found.downbeat, found.music])
    np.testing.assert_allclose(mine, frames[0, :, :n_frames].numpy(), atol=1e-4)
    np.testing.assert_allclose(found.tempo, tempo[0].log_softmax(-1).numpy(), atol=1e-4)
    np.testing.assert_allclose(found.metre, metre[0].log_softmax(-1).numpy(), atol=1e-4)


def test_targets_lie_on_the_grid() -> None:
    grid = ClipGrid(bpm=120.0, beat_s=0.25, beats_per_bar=3, metre=1, start_s=0.25, stop_s=3.25)
    found = targets(grid, 400)
    beat, downbeat, music = found["frames"]
    assert np.flatnonzero(beat == 1.0).tolist() == [25, 75, 125, 175, 225, 275]
    assert np.flatnonzero(downbeat == 1.0).tolist() == [25, 175]
    assert not music[:23].any() and music[25:320].all() and not music[325:].any()
    assert found["metre"] == 1 and found["tempo"].sum() == pytest.approx(1.0)


def test_examples_know_their_grid_and_are_kept(tmp_path: Path) -> None:
    """A whole clip is whole bars between start and stop; what is written is read again."""
    made = examples(7, 0, ("house",), n_each=1, few=FEW_SHARE)
    whole = made[0].grid
    n_bars = (whole.stop_s - whole.start_s) / seconds_per_beat(whole.bpm) / whole.beats_per_bar
    assert n_bars == pytest.approx(round(n_bars), abs=1e-6) and whole.beat_s == whole.start_s
    save_examples(tmp_path / "x.npz", made, sound=False)
    read = list(load_examples([tmp_path / "x.npz"]))
    assert [grid for _, grid in read] == [example.grid for example in made]
    one, other = (draw_batch(read, 3, np.random.default_rng(2)) for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert plain_batch(read)["bands"].shape == (2, N_BANDS, 800)


def test_the_decoder_is_judged_by_midi_files_that_the_network_does_not_know(tmp_path: Path) -> None:
    for number in range(9):
        write_midi(tmp_path / f"{number}.mid", band(16))
    learned, held = split_midi(str(tmp_path))
    assert (len(learned.files), len(held.files)) == (6, 3) and not set(learned.files) & set(held.files)
    with pytest.raises(MidiError):
        split_midi(str(tmp_path / "none"))


def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole, half, midi = tmp_path / "whole", tmp_path / "half", tmp_path / "midi"
    write_midi(midi / "band.mid", band(32))
    words = ("--preset", "tiny", "--threads", "1", "--passages", "2", "--midi", str(midi))
    run(arguments("tempo", *words, "-o", str(whole)))
    shutil.copytree(whole / "material", half / "material")
    run(arguments("tempo", *words, "-o", str(half), "--steps", "2", "--decay-fraction", "0"))
    (half / "plan.json").write_text((whole / "plan.json").read_text())
    run(arguments("tempo", "--resume", str(half)))
    one, other = (load_tracker(folder / "checkpoint") for folder in (whole, half))
    assert one["front1.bias"].shape == (TEMPO_NETWORKS["tiny"].front,)
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert 40 <= find_tempo(drums(120, 16), weights=one).bpm <= 240
