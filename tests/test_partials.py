"""Levels and partials told apart from shapes: codes that repeat, tones that keep their pitch."""

import dataclasses

import numpy as np
import pytest
import torch

from melformer.codec.codec import Codec
from melformer.codec.encoder import moments
from melformer.codec.partials import PartialsCodebook, _median, tune
from melformer.codec.stft import BeatSTFT
from melformer.config import PRESETS, CodecConfig
from melformer.errors import ConfigError

SAMPLES = 24_000
CODEC = dataclasses.replace(PRESETS["tiny"].codec, n_codebooks=5, codebook_size=256, n_registers=2)


@pytest.fixture(scope="module")
def codec() -> Codec:
    torch.manual_seed(0)
    codec = Codec(CODEC).eval()
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(32, SAMPLES, generator=generator) * torch.logspace(-3, 0.3, 32)[:, None]
    with torch.inference_mode():
        codec.quantizer.fit(codec.encode_latents(noise).flatten(0, 1), generator)
    return codec


def tone(cycles: float, size: float = 0.3) -> torch.Tensor:
    return size * torch.sin(2.0 * torch.pi * cycles * torch.arange(SAMPLES, dtype=torch.float64) / SAMPLES).float()


def test_every_code_comes_back() -> None:
    book = PartialsCodebook(4, 1_024, 4)
    codes = torch.arange(1 + 5 * book.n_frequencies)[:, None].expand(-1, 4)
    assert torch.equal(book.encode(book.lookup(codes)), codes)
    unknown = book.lookup(torch.tensor([[1_023] * 4]))
    assert not unknown[..., 4:].any()


def cents(heard: torch.Tensor, true: float) -> float:
    return 1_200.0 * abs(float(torch.log2(heard / true)))


@pytest.mark.parametrize("cycles", [40.3, 111.1, 220.0, 777.7, 1_500.2])
def test_a_tone_is_found_within_three_cents(cycles: float) -> None:
    found = PartialsCodebook(4, 1_024, 4).find(tone(cycles)[None])[0]
    frequency, weight = found.chunk(2, dim=-1)
    strongest = frequency[::4][weight[::4] == 1.0]
    assert len(strongest) == 4
    assert max(cents(heard, cycles) for heard in strongest) < 3.0


def test_two_tones_of_one_register_stand_in_the_order_of_their_strength() -> None:
    book = PartialsCodebook(4, 1_024, 4)
    codes = book.encode(book.find((tone(300.0, 0.1) + tone(400.0, 0.3))[None]))[0]
    said = book.lookup(codes)
    assert cents(said[0, 2], 400.0) < 6.0
    assert cents(said[1, 2], 300.0) < 6.0
    assert float(said[1, 6]) == pytest.approx(1 / 3, abs=0.1)  # to the nearest 6 dB


def test_silence_and_noise_have_few_partials() -> None:
    book = PartialsCodebook(4, 1_024, 4)
    assert not book.encode(book.find(torch.zeros(1, SAMPLES))).any()
    noise = 0.1 * torch.randn(4, SAMPLES, generator=torch.Generator().manual_seed(1))
    assert (book.encode(book.find(noise)) > 0).float().mean() < 0.5


def test_a_blurred_tone_gets_its_pitch_back_and_keeps_its_energy() -> None:
    stft = BeatSTFT(24_000, 80, 1_500, 750)
    spectra = stft.frames(torch.nn.functional.pad(tone(220.0)[None], (600, 600)))
    turned = torch.polar(torch.ones(80, 750), torch.rand(80, 750, generator=torch.Generator().manual_seed(2)) * 6.28)
    blurred = spectra.abs() * turned
    partials = PartialsCodebook(4, 1_024, 4).find(tone(220.0)[None]).unflatten(1, (4, 4))
    partials = torch.cat([partials[:, :1], partials], dim=1)
    tuned = tune(blurred, partials, 0, stft, 5)
    sound = stft.overlap_add(stft.segments(tuned))[0][0, 2_400:-2_400].numpy()
    line = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 8 * len(sound)))
    cycles = line.argmax() / (8.0 * len(sound) / 24_000)
    assert cents(torch.tensor(cycles), 220.0) < 5.0
    energy = np.square(sound).mean() / (0.3**2 / 2.0)
    assert abs(10.0 * np.log10(energy)) < 1.5
    near = slice(line.argmax() - 80, line.argmax() + 80)
    assert np.square(line[near]).sum() > 0.9 * np.square(line).sum()


def test_without_partials_nothing_is_touched() -> None:
    stft = BeatSTFT(24_000, 80, 1_500, 750)
    spectra = torch.randn(1, 80, 750, dtype=torch.complex64)
    none = torch.zeros(1, 5, 4, 8)
    assert (tune(spectra, none, 0, stft, 5) - spectra).abs().max() < 1e-5


@pytest.mark.parametrize(("n_latents", "lookahead"), [(16, 1), (16, 2), (40, 3)])
def test_streamed_equals_whole(n_latents: int, lookahead: int) -> None:
    torch.manual_seed(0)
    codec = Codec(dataclasses.replace(CODEC, latent_frames_per_beat=n_latents, lookahead_frames=lookahead)).eval()
    codes = torch.randint(0, 256, (1, 5, n_latents, 5), generator=torch.Generator().manual_seed(3))
    whole, _ = codec.decode(codes)
    state, parts = None, []
    for beat in codes.split(1, dim=1):
        part, state = codec.decode(beat, state)
        parts.append(part)
    assert (torch.cat(parts, dim=1) - whole).abs().max() < 1e-5


def test_far_into_a_stream_beginning_again_equals_going_on(codec: Codec) -> None:
    codes = torch.randint(0, 256, (1, 8, 16, 5), generator=torch.Generator().manual_seed(7)).flatten(1, 2)
    latents = codec.quantizer.decode(codes)
    with torch.inference_mode():
        going_on, _ = codec.decoder.spectra(latents, None, 10_000)
        begun, _ = codec.decoder.spectra(codec.quantizer.decode(codes[:, 64:]), None, 10_004)
    assert (going_on[:, -80:] - begun[:, -80:]).abs().max() < 1e-5


def test_a_louder_beat_has_the_same_codes_but_for_its_levels(codec: Codec) -> None:
    generator = torch.Generator().manual_seed(4)
    beats = 0.1 * torch.randn(2, SAMPLES, generator=generator) + tone(220.0) + tone(330.0)
    codes, louder = codec.encode(beats), codec.encode(beats * 1.7)
    same = (codes == louder).float().mean(dim=(0, 1))
    assert same[[0, 1, 3, 4]].min() > 0.96  # one of 32 may lie between two entries
    assert same[2] < 0.5


def test_a_beats_codes_do_not_depend_on_its_neighbours(codec: Codec) -> None:
    beats = 0.1 * torch.randn(3, SAMPLES, generator=torch.Generator().manual_seed(5))
    assert torch.equal(codec.encode(beats)[1:2], codec.encode(beats[1:2]))


def test_in_training_the_decoder_hears_partials_and_codes_are_of_the_others(codec: Codec) -> None:
    beats = 0.1 * torch.randn(2, 2, 24_000, generator=torch.Generator().manual_seed(6))
    for bypass in (True, False):
        outcome = codec(beats, torch.tensor([1, 2]), bypass, beats[:, :1] * 1.05)
        assert outcome.samples.shape == (2, 48_000)
        assert outcome.stability < 1e-3
        assert outcome.quantized.codes.shape == (2, 32, 3)


@pytest.mark.parametrize(
    "wrong", [{"n_codebooks": 5}, {"latent_frames_per_beat": 10}, {"lookahead_frames": 0}, {"lookahead_frames": 3}]
)
def test_registers_that_do_not_fit_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        dataclasses.replace(CodecConfig(n_registers=4), **wrong)


def test_moments_tell_where_in_a_window_an_attack_lies_and_nothing_of_its_level(codec: Codec) -> None:
    stft, bands = codec.decoder.stft, codec.encoder.bands
    hop, frame = stft.hop_length, stft.frames_per_beat // 2
    heard = []
    for late, size in ((-180, 0.5), (0, 0.5), (180, 0.5), (180, 0.05)):
        click = torch.zeros(1, SAMPLES)
        click[0, frame * hop + hop // 2 + late] = size
        found = moments(stft.analyse(click), stft.analyse(click, late=True), bands)[0, frame]
        heard.append(found[found.abs().argmax()].item())
    assert heard[0] < -0.2 < 0.2 < heard[2]
    assert abs(heard[1]) < 0.05
    assert heard[3] == pytest.approx(heard[2], abs=2e-3)
    silence = torch.zeros(1, SAMPLES)
    assert not moments(stft.analyse(silence), stft.analyse(silence, late=True), bands).any()


@torch.inference_mode()
def test_fewer_codebooks_say_less_but_can_be_heard(codec: Codec) -> None:
    beats = 0.3 * torch.stack([tone(220.0), tone(440.0)])
    codes = codec.encode(beats)
    whole = codec.quantizer.decode(codes)
    for n in range(1, 6):
        said = codec.quantizer.decode(codes[..., :n])
        assert said.shape == whole.shape
        assert codec.decode_loop(codes[..., :n]).isfinite().all()
        weights = said[..., -2:]
        assert torch.equal(weights[..., : max(0, n - 3)], whole[..., -2:][..., : max(0, n - 3)])
        assert not weights[..., max(0, n - 3) :].any()
    assert torch.equal(codec.quantizer.decode(codes[..., :3])[..., :-4], whole[..., :-4])


@pytest.mark.parametrize("n", [1, 2, 29, 30])
def test_the_median_is_torchs(n: int) -> None:
    values = torch.randn(3, 5, n, generator=torch.Generator().manual_seed(n))
    assert torch.equal(_median(values), values.median(dim=-1).values)
