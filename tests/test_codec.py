"""The codec's invariants: a beat's codes are its own, and streamed equals whole."""

import pytest
import torch
from tiny import check_stream_equals_whole
from torch import Tensor

from melformer.codec.blocks import ConvNeXtBlock
from melformer.codec.codec import Codec
from melformer.codec.losses import CodecLoss, mel_filters
from melformer.codec.quantizer import N_LEVELS, ResidualVectorQuantizer
from melformer.codec.stft import BeatSTFT
from melformer.config import PRESETS


@pytest.fixture(scope="module")
def codec() -> Codec:
    torch.manual_seed(0)
    codec = Codec(PRESETS["tiny"].codec).eval()
    with torch.no_grad():  # as loud as a trained one, so that differences cannot hide below the tolerance
        codec.decoder.head.bias += 4.0
    return codec


def beats(n: int, seed: int = 1, samples: int = 24_000) -> Tensor:
    return torch.randn(n, samples, generator=torch.Generator().manual_seed(seed)) * 0.1


def test_same_beat_same_codes_wherever_it_stands(codec: Codec) -> None:
    a, b, c = beats(3)
    alone = codec.encode(a[None])
    among = codec.encode(torch.stack([b, a, c, a]))
    assert torch.equal(among[1], alone[0]) and torch.equal(among[3], alone[0])
    assert not torch.equal(among[0], alone[0])


def test_a_full_scale_sine_reads_as_its_amplitude(codec: Codec) -> None:
    stft = codec.decoder.stft
    seconds = torch.arange(stft.samples_per_beat) / stft.samples_per_beat
    tone = torch.sin(2 * torch.pi * 480 * seconds) * 0.5
    assert stft.analyse(tone[None])[0, 4:-4].abs().max() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("samples_per_beat", [40_000, 24_000])
def test_overlap_add_gives_back_what_was_analysed(samples_per_beat: int) -> None:
    n_fft = samples_per_beat // 16
    stft = BeatSTFT(samples_per_beat, 80, n_fft, n_fft // 2)
    beat = beats(1, samples=samples_per_beat)
    beat = torch.fft.irfft(torch.fft.rfft(beat) * (torch.arange(samples_per_beat // 2 + 1) < samples_per_beat // 3))
    samples, carry = stft.overlap_add(stft.segments(stft.analyse(beat)))
    late = stft.delay_frames * stft.hop_length
    inner = slice(2 * late, -2 * late)
    assert (samples[:, late:][:, inner] - beat[:, :-late][:, inner]).abs().max() < 1e-4
    assert carry.shape == (1, stft.overlap - 1, stft.hop_length)


def test_streamed_equals_whole(codec: Codec) -> None:
    check_stream_equals_whole(codec)


def test_decoder_hears_nothing_from_later_than_its_delay(codec: Codec) -> None:
    codes = torch.randint(0, 64, (1, 4, 16, 3), generator=torch.Generator().manual_seed(3))
    changed = codes.clone()
    changed[:, 2] = (changed[:, 2] + 1) % 64
    a, b = codec.decode(codes)[0], codec.decode(changed)[0]
    beat = codec.decoder.stft.samples_per_beat
    assert torch.equal(a[:, : 2 * beat], b[:, : 2 * beat])
    assert not torch.equal(a[:, 2 * beat : 3 * beat], b[:, 2 * beat : 3 * beat])


def test_a_loop_decodes_without_delay(codec: Codec) -> None:
    codes = torch.randint(0, 64, (2, 16, 3), generator=torch.Generator().manual_seed(4))
    loop = codec.decode_loop(codes)
    later = codec.decode(torch.cat([codes[1:], codes, codes])[None])[0][0]
    delay, beat = codec.decoder.delay_samples, codec.decoder.stft.samples_per_beat
    assert loop.shape == (2 * beat,)
    assert (loop - later[beat + delay : 3 * beat + delay]).abs().max() < 1e-4


def test_causal_block_carries_its_state() -> None:
    torch.manual_seed(0)
    block = ConvNeXtBlock(8, 2, 7, causal=True)
    frames = torch.randn(2, 20, 8)
    whole, _ = block(frames)
    first, state = block(frames[:, :3])
    second, _ = block(frames[:, 3:], state)
    assert (torch.cat([first, second], dim=1) - whole).abs().max() < 1e-6


def quantizer_of(n_learned: int, size: int, codebook_dim: int = 4) -> ResidualVectorQuantizer:
    """With a register of partials and a codebook of levels that says nothing, so that what is learned shows."""
    quantizer = ResidualVectorQuantizer(16, n_learned + 2, size, codebook_dim, n_registers=1, per_segment=4)
    with torch.no_grad():
        for parameter in quantizer.level.parameters():
            parameter.zero_()
    return quantizer


def beside(latents: Tensor) -> Tensor:
    """Latents with levels and no partials beside them, as the encoder gives them."""
    return torch.cat([latents, torch.randn(*latents.shape[:-1], N_LEVELS), torch.zeros(*latents.shape[:-1], 2)], dim=-1)


def test_quantizer_decodes_what_it_encodes_and_refines_with_depth() -> None:
    torch.manual_seed(0)
    quantizer = quantizer_of(4, 256, 8)
    latents = beside(torch.randn(2, 500, 16))
    with torch.no_grad():  # projections that keep what they can, entries from the data
        for book in quantizer.books():
            book.project_in.weight.copy_(torch.linalg.qr(torch.randn(16, 8))[0].T)
            book.project_out.weight.copy_(book.project_in.weight.T)
            book.project_in.bias.zero_(), book.project_out.bias.zero_()
    quantizer.restart(latents, torch.Generator().manual_seed(0), threshold=2.0)
    quantized = quantizer(latents)
    codes = quantizer.encode(latents)
    assert codes.shape == (2, 500, 6)
    assert torch.equal(codes[..., :5], quantized.codes)
    assert (quantizer.decode(codes) - quantized.latents).abs().max() < 1e-5
    shapes = latents[..., :16]
    errors = [float((quantizer.colours(codes[..., :n]) - shapes).square().mean().detach()) for n in range(1, 5)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.8 * errors[0]


def test_fitted_codebooks_are_used_and_say_more_than_entries_at_random() -> None:
    torch.manual_seed(0)
    latents = beside(torch.randn(4_000, 12) @ torch.randn(12, 16) * torch.linspace(0.1, 2.0, 16))
    fitted, plain = (quantizer_of(3, 64) for _ in range(2))
    fitted.fit(latents, torch.Generator().manual_seed(0))
    plain.restart(latents[None], torch.Generator().manual_seed(0), threshold=2.0)
    errors = []
    for quantizer in (fitted, plain):
        codes = quantizer.encode(latents[None])
        errors.append(float((quantizer.colours(codes) - latents[:, :16]).square().mean().detach()))
    assert errors[0] < 0.5 * errors[1]
    codes = fitted.encode(latents[None])[0]
    assert all(len(codes[:, q].unique()) == 64 for q in range(4))


def test_without_rounding_latents_pass_as_they_are_and_every_codebook_takes_part() -> None:
    """Processes that average gradients need one for every parameter."""
    quantizer = quantizer_of(2, 8)
    latents = beside(torch.randn(2, 5, 16)).requires_grad_()
    quantized = quantizer(latents, bypass=True)
    assert torch.equal(quantized.latents[..., :16], latents[..., :16])
    assert float(quantized.codebook_loss.detach()) == 0.0
    (quantized.latents.sum() + quantized.codebook_loss).backward()
    assert torch.equal(latents.grad[..., :16], torch.ones(2, 5, 16))
    assert all(parameter.grad is not None for parameter in quantizer.parameters())
    assert not any(parameter.grad.any() for book in quantizer.books() for parameter in book.parameters())


def test_gradient_passes_straight_through_the_quantizer() -> None:
    torch.manual_seed(0)
    quantizer = quantizer_of(2, 32)
    latents = beside(torch.randn(1, 10, 16)).requires_grad_()
    quantizer(latents).latents.sum().backward()
    assert latents.grad is not None and latents.grad[..., :16].abs().sum() > 0


def test_dead_entries_come_back() -> None:
    torch.manual_seed(0)
    quantizer = quantizer_of(1, 64)
    book = next(quantizer.books())
    book.usage[:40] = 0.0
    assert quantizer.restart(beside(torch.randn(1, 200, 16)), torch.Generator().manual_seed(0)) == 40
    assert bool((book.usage == 1.0).all())


def test_loss_is_zero_for_the_same_and_rises_with_difference(codec: Codec) -> None:
    loss = CodecLoss(codec.decoder.stft, codec.config.stride)
    target = beats(1, samples=48_000)
    values = [
        float(loss(target + level * beats(1, 9, 48_000), target, torch.Generator().manual_seed(0))["total"])
        for level in (0.0, 0.1, 1.0)
    ]
    assert values[0] < 1e-3 < values[1] < values[2]


def test_loss_tells_a_note_from_its_neighbour_and_soft_from_loud(codec: Codec) -> None:
    """Two low notes a semitone apart fall into the same bins of a short window."""
    loss = CodecLoss(codec.decoder.stft, codec.config.stride)
    time = torch.arange(48_000) / 24_000
    note, same, next_ = (0.3 * torch.sin(2.0 * torch.pi * (hz * time + turn))[None]
                         for hz, turn in ((55.0, 0.0), (55.0, 0.3), (58.27, 0.0)))  # fmt: skip
    parts = [loss(other, note, torch.Generator().manual_seed(0)) for other in (same, next_, 0.5 * same)]
    assert parts[0]["tone"] < 0.1 * parts[1]["tone"]
    assert parts[0]["level"] < 0.2 * parts[2]["level"]


def test_mel_filters_equal_librosas() -> None:
    import librosa
    import numpy as np

    ours = mel_filters(2_048, 80, 48_000.0, 20_000.0).numpy()
    theirs = librosa.filters.mel(sr=48_000, n_fft=2_048, n_mels=80, fmin=0.0, fmax=20_000.0, norm="slaney").T
    assert np.abs(ours - theirs).max() < 1e-6
