"""The Python interface: what may be given, what comes back, and what loading a model leaves alone."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_train_device import CARD, put_on_card
from tiny import loop, tiny_model
from torch._subclasses.fake_tensor import FakeTensorMode

import melformer
from melformer.audio.io import Waveform, read_bpm_tag, read_waveform, write_waveform
from melformer.config import PRESETS
from melformer.errors import AudioError, FormatError, RequestError
from melformer.generate import GenerationConfig, Melformer
from melformer.generate.state import VERSION
from melformer.hub import save_bundle
from melformer.stems import STEMS
from melformer.stems.units import UnitChoice
from melformer.transformer.model import BeatTransformer, Conditioning
from melformer.transformer.rope import rotation_at

BPM = 120
FREE = GenerationConfig(variation=1.0)


@pytest.fixture(scope="module")
def model() -> Melformer:
    return tiny_model()


@pytest.fixture(scope="module")
def bundle(model: Melformer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bundle(tmp_path_factory.mktemp("model"), model.config, model.state_dict(), "# Tiny\n")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_waveform(tmp_path / "loop_120bpm.wav", loop(), encoding="float")
    return tmp_path / "loop_120bpm.wav"


def test_the_public_names_are_there() -> None:
    assert all(getattr(melformer, name) for name in melformer.__all__)
    assert {"Melformer", "GenerationConfig", "Waveform"} <= set(melformer.__all__)


def test_one_seed_gives_a_continuation_and_several_a_list(model: Melformer) -> None:
    alone = model.generate(loop(), 4, seed=7, config=FREE, bpm=BPM)
    first, second = model.generate(loop(), 4, seeds=[6, 7], config=FREE, bpm=BPM)
    assert (first.seed, second.seed, alone.seed) == (6, 7, 7)
    assert np.array_equal(second.codes, alone.codes) and not np.array_equal(first.codes, alone.codes)
    assert np.array_equal(model.generate(loop(), 4, seed=7, config=FREE, bpm=BPM).codes, alone.codes)
    for wrong in ({"seeds": []}, {"n_beats": None}, {"seed": -1}, {"n_beats": 2.5}):
        with pytest.raises(RequestError):
            model.generate(loop(), **({"bpm": BPM} | wrong))


def test_each_of_many_takes_can_be_resumed(model: Melformer, tmp_path: Path) -> None:
    longer = model.generate(loop(), 6, seed=7, config=FREE, bpm=BPM)
    _, second = model.generate(loop(), 4, seeds=[6, 7], config=FREE, bpm=BPM)
    second.state.save(tmp_path / "second.stream")
    more = list(model.resume(tmp_path / "second.stream", 2))
    assert np.array_equal(np.concatenate([beat.codes for beat in more]), longer.codes[4:])
    sound = np.concatenate([second.new.samples, *(beat.waveform.samples for beat in more)])
    assert np.abs(sound - longer.new.samples).max() < 1e-5


@pytest.mark.parametrize(("step", "words"), [(-1, "continue the loop again"), (1, "pip install --upgrade")])
def test_a_stream_that_another_version_saved_is_refused(
    model: Melformer, tmp_path: Path, step: int, words: str
) -> None:
    state = model.generate(loop(), 1, bpm=BPM).state
    replace(state, facts={**state.facts, "version": VERSION + step}).save(tmp_path / "other.stream")
    with pytest.raises(FormatError, match=words):
        model.resume(tmp_path / "other.stream")


def test_a_loop_may_come_in_many_ways(model: Melformer, file: Path) -> None:
    waveform = read_waveform(file)
    codes = model.prompt(file).codes
    ways = (str(file), waveform, (waveform.samples, waveform.sample_rate), io.BytesIO(file.read_bytes()))
    for way in ways:
        assert np.array_equal(model.prompt(way, bpm=BPM).codes, codes), way
    with open(file, "rb") as opened:
        prompt = model.prompt(opened)  # its name tells the tempo
    assert np.array_equal(prompt.codes, codes)
    assert (prompt.name, prompt.tempo.source) == ("loop_120bpm", "file name")


def test_a_prompt_that_is_ready_takes_no_options(model: Melformer, file: Path) -> None:
    """They would not be followed."""
    prompt = model.prompt(file, bpm=120)
    with pytest.raises(RequestError, match="variation"):
        model.generate(prompt, 1, variation=0.9)
    with pytest.raises(RequestError, match="bpm"):
        model.stream(prompt, bpm=100)


def test_what_is_no_audio_is_refused_in_a_sentence(model: Melformer, file: Path) -> None:
    samples = loop().samples
    for wrong, words in (
        (samples, "sample rate"), (None, "None"), (7, "7 is no audio"), (file.read_bytes(), "io.BytesIO"),
        ((22_050, samples), "samples come first"), ((samples, 22_050, "x"), "tuple of 3"), ([1], "is no audio"),
        (io.StringIO("text"), "'rb'"), (io.BytesIO(b""), "empty"), (io.BytesIO(b"no audio at all"), "supported"),
        ((samples, 22_050.5), "whole number"), ((np.zeros((44_100, 2), np.int16), 44_100), "floating point"),
    ):  # fmt: skip
        with pytest.raises(AudioError, match=words):
            model.generate(wrong, 1, bpm=BPM)


def test_a_continuation_is_saved_with_the_prompt_bit_for_bit(model: Melformer, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sixteen = Waveform((rng.integers(-9_000, 9_000, (44_100, 2)) / 2.0**15).astype(np.float32), 22_050)
    take = model.generate(sixteen, 3, bpm=BPM)
    assert take.save(tmp_path / "out.wav") == tmp_path / "out.wav"
    written, n_kept = read_waveform(tmp_path / "out.wav"), sixteen.n_samples - round(0.03 * 22_050)
    assert np.array_equal(written.samples[:n_kept], sixteen.samples[:n_kept])
    assert written.n_samples == take.waveform.n_samples and read_bpm_tag(tmp_path / "out.wav") == BPM
    assert read_waveform(take.save(tmp_path / "new.flac", only_new=True)).n_samples == take.new.n_samples
    with pytest.raises(FileExistsError):
        take.save(tmp_path / "out.wav", only_new=True, replace=False)
    assert read_waveform(tmp_path / "out.wav").n_samples == written.n_samples
    with pytest.raises(AudioError, match=r"\.wav or \.flac"):
        take.save(tmp_path / "out.mp3")


def test_sources_name_the_half_beat_of_the_prompt(model: Melformer) -> None:
    take = model.generate(loop(), 6, config=GenerationConfig(variation=0.0), bpm=BPM)  # the loop, played round
    present = [k for k, name in enumerate(STEMS) if name in model.stems(take.prompt).present]
    assert all(unit[k] == UnitChoice(i % 8) for i, unit in enumerate(take.sources) for k in present)
    assert take.facts()[3][STEMS[present[0]]] == {"source": 3, "semitones": 0}


def test_loading_a_model_leaves_the_process_alone(bundle: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        Melformer.from_pretrained(bundle)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_two_models_separate_a_prompt_each_for_itself(model: Melformer) -> None:
    prompt, other = model.prompt(loop(), bpm=BPM), tiny_model(seed=5)
    ours, theirs = (each.stems(prompt).drums.samples for each in (model, other))
    assert model.stems(prompt).drums.samples is ours and other.stems(prompt).drums.samples is theirs is not ours


@pytest.mark.parametrize("part", ["codec", "transformer"])
def test_weights_of_another_type_are_refused_until_they_are_floats_again(part: str) -> None:
    model = tiny_model()
    getattr(model, part).to(torch.bfloat16)
    for request in (lambda: model.generate(loop(), 1, bpm=BPM), lambda: next(model.stream(loop(), bpm=BPM))):
        with pytest.raises(RequestError, match=f"{part} is bfloat16; it works in float32"):
            request()
    assert model.float().generate(loop(), 1, bpm=BPM).n_beats == 1


def test_a_device_that_is_not_there_is_refused(bundle: Path) -> None:
    with pytest.raises(RequestError, match="cuda:99"):
        Melformer.from_pretrained(bundle, device="cuda:99")
    assert Melformer.from_pretrained(bundle, device="cpu").transformer.device.type == "cpu"


def test_a_codec_that_was_moved_is_refused(model: Melformer) -> None:
    moved = tiny_model()
    moved.codec.to("meta")
    with pytest.raises(RequestError, match="works on the CPU only"):
        moved.generate(loop(), 1, bpm=BPM)


def test_the_transformer_works_on_another_device() -> None:
    """On a pretended graphics card: an operation with a tensor that was left on the CPU would be refused."""
    tiny = PRESETS["tiny"]
    transformer = BeatTransformer(tiny.transformer, 16, tiny.codec.codebook_size).eval()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        put_on_card(transformer)
        codes = torch.zeros(2, 6, 16, 3, dtype=torch.int64, device=CARD)
        told = Conditioning(torch.zeros(2, device=CARD), torch.zeros(2, 6, dtype=torch.int64, device=CARD))
        prediction = transformer(codes, told, torch.arange(1, 6, device=CARD))
        state = transformer.prefill(codes[:, :5], told)
        transformer.append(state, codes[:, 5], Conditioning(told.tempo, told.bar_positions[:, :1]))
    rotation_at.cache_clear()  # it remembers tensors, here pretended ones
    assert prediction.logits.device == state.contexts.device == state.ring.keys.device == state.lags.device == CARD
    assert prediction.logits.shape == (2, 5, transformer.pattern.n_steps, 3, 64)
