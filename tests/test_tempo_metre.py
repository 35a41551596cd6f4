"""Metre and bars: found in the sound, followed where they are certain, and never where another metre is given."""

from pathlib import Path

import numpy as np
import pytest
import torch
from page_double import Model
from safetensors.numpy import load_file, save_file

from melformer.audio.io import write_waveform
from melformer.audio.tempo import Tempo, find_tempo
from melformer.audio.tempo.tracker_weights import TRACKER_FILE, read_weights
from melformer.audio.waveform import Waveform
from melformer.codec.codec import Codec
from melformer.config import PRESETS
from melformer.errors import CheckpointError
from melformer.generate.prompt import make_prompt
from melformer.hub.parts import load_tracker
from melformer.hub.remote import EMBEDDED
from melformer.ui.host.limits import Limits
from melformer.ui.takes.loops import open_loop

RATE = 22_050
WALTZ = ((0,), (1, 2), (0, 0.5, 1, 1.5, 2, 2.5), 3)
COMMON = ((0, 2, 2.5), (1, 3), tuple(k / 2 for k in range(8)), 4)
SEVEN = ((0,), (4,), tuple(range(7)), 7)
"""Where in a bar kick, snare and hat are, in beats; and beats a bar."""


def band(bpm: float, pattern: tuple, n_bars: int = 8) -> Waveform:
    """Bars of kick, snare, hat and a bass note that changes with the bar."""
    *places, per_bar = pattern
    rng, time, beat = np.random.default_rng(0), np.arange(RATE // 4) / RATE, 60 * RATE / bpm
    kick = np.sin(2 * np.pi * (50 * time + 8 * (1 - np.exp(-time * 40)))) * np.exp(-time * 18)
    snare = rng.standard_normal(len(time)) * np.exp(-time * 25) * 0.5
    hat = np.diff(rng.standard_normal(len(time) + 1)) * np.exp(-time * 90) * 0.15
    sound = np.zeros(round(n_bars * per_bar * beat) + RATE)
    for bar in range(n_bars):
        for hit, beats in zip((kick, snare, hat), places):
            for k in beats:
                at = round((bar * per_bar + k) * beat)
                sound[at : at + len(hit)] += hit
        note = np.arange(round(per_bar * beat)) / RATE
        hertz = (110.0, 146.8, 164.8, 110.0)[bar % 4]
        tone = sum(np.sin(2 * np.pi * hertz * h * note) / h for h in (1, 2, 3)) * np.exp(-1.2 * note)
        at = round(bar * per_bar * beat)
        sound[at : at + len(note)] += 0.25 * tone
    return Waveform((0.4 * sound[: round(n_bars * per_bar * beat)]).astype(np.float32), RATE)


@pytest.mark.parametrize(
    ("bpm", "pattern", "metre", "n"), [(120, WALTZ, "3/4", 3), (96, COMMON, "4/4", 4), (150, SEVEN, "7/8", 7)]
)
def test_metre_and_the_one_are_found(bpm: float, pattern: tuple, metre: str, n: int) -> None:
    found = find_tempo(band(bpm, pattern))
    assert (found.bpm, found.metre, found.beats_per_bar, found.bar) == (bpm, metre, n, n)
    assert (found.start_s, found.downbeat, found.messages) == (0.0, 0, ())
    assert min(found.metre_confidence, found.downbeat_confidence) >= 0.8


def test_a_loop_that_begins_before_its_bar_is_told_where_bars_begin() -> None:
    loop = band(96, COMMON)
    beat = round(60 * RATE / 96)
    found = find_tempo(Waveform(np.roll(loop.samples, beat, axis=0), RATE))
    assert (found.bpm, found.downbeat) == (96, 1) and found.downbeat_confidence >= 0.8
    assert found.messages == (
        "The loop seems to begin 1 beat before a bar: give 0.625 s as its start to count bars from there.",
    )


def test_an_uncertain_metre_is_common_time() -> None:
    sure = Tempo(120.0, "detected", 0.9, 0.0, 0.9, metre="3/4", beats_per_bar=3, metre_confidence=0.8)
    doubtful = Tempo(120.0, "detected", 0.9, 0.0, 0.9, metre="3/4", beats_per_bar=3, metre_confidence=0.79)
    assert (sure.bar, doubtful.bar) == (3, 4)


@pytest.mark.parametrize(("given", "metre"), [(4, "4/4"), (2, "2/4"), (7, "7/8"), (9, "9/4")])
def test_a_metre_that_is_given_holds(given: int, metre: str) -> None:
    found = find_tempo(band(120, WALTZ), beats_per_bar=given)
    assert (found.metre, found.beats_per_bar, found.bar, found.metre_confidence) == (metre, given, given, 1.0)


def test_bars_are_what_was_found_unless_they_are_given(tmp_path: Path) -> None:
    torch.manual_seed(0)
    codec, waltz = Codec(PRESETS["tiny"].codec).eval(), band(120, WALTZ, n_bars=4)
    prompts = [make_prompt(codec, waltz, **options) for options in ({}, {"bpm": 120}, {"beats_per_bar": 4})]
    assert [prompt.beats_per_bar for prompt in prompts] == [3, 3, 4]
    write_waveform(tmp_path / "waltz.wav", waltz)
    opened = [open_loop(Model(), tmp_path / "waltz.wav", Limits(), bar) for bar in (None, 4)]
    assert [loop.beats_per_bar for loop in opened] == [3, 4]


def test_a_model_without_a_tracker_uses_the_embedded_one(tmp_path: Path) -> None:
    embedded, own = load_tracker(tmp_path), dict(load_file(EMBEDDED / TRACKER_FILE))
    own["decoder.tempo.calibration"] = np.array([0.0, -2.0], np.float16)  # every tempo is as good as any other
    save_file(own, tmp_path / TRACKER_FILE)
    loop = band(120, WALTZ, n_bars=4)
    sure, doubtful = (find_tempo(loop, weights=w).confidence for w in (embedded, load_tracker(tmp_path)))
    assert sure == find_tempo(loop).confidence > 0.5 and doubtful == pytest.approx(1 / (1 + np.exp(2)), abs=1e-3)


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    path = tmp_path / TRACKER_FILE
    with pytest.raises(CheckpointError, match="There is no"):
        read_weights(path)
    whole = (EMBEDDED / TRACKER_FILE).read_bytes()
    for damaged in (b"", b"no tensors", whole[:-100]):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged"):
            read_weights(path)
    path.write_bytes(bytes(5_000_000))
    with pytest.raises(CheckpointError, match="the limit is"):
        read_weights(path)
    tensors = load_file(EMBEDDED / TRACKER_FILE)
    bias = tensors["front1.bias"]
    for other in (None, bias[:-1], bias[:0], np.float16(1.0), bias.astype(np.int16), bias[None]):
        given = {name: t for name, t in tensors.items() if name != "front1.bias"}
        save_file(given if other is None else given | {"front1.bias": np.asarray(other)}, path)
        with pytest.raises(CheckpointError, match="does not fit"):
            read_weights(path)
    for name, value in (
        ("front1.bias", np.nan),
        ("front2.bias", np.inf),
        ("stem.bias", 1e30),
        ("decoder.tempo.scale", 0),
    ):
        save_file(tensors | {name: np.full(tensors[name].shape, value, np.float32)}, path)
        with pytest.raises(CheckpointError, match=name):
            load_tracker(tmp_path)


def test_the_largest_weights_that_are_read_give_numbers(tmp_path: Path) -> None:
    tensors = {name: np.full(t.shape, 1e4, np.float32) for name, t in load_file(EMBEDDED / TRACKER_FILE).items()}
    save_file(tensors, tmp_path / TRACKER_FILE)
    found = find_tempo(band(120, WALTZ, n_bars=2), weights=load_tracker(tmp_path))
    assert 40 <= found.bpm <= 240 and 0 <= found.confidence <= 1 and 0 <= found.metre_confidence <= 1
