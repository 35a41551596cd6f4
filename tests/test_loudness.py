"""Decoded sound is held to the levels that its codes state."""

import dataclasses

import pytest
import torch

from melformer.codec.codec import Codec
from melformer.codec.encoder import register_powers
from melformer.config import PRESETS
from melformer.render.levels import ALLOWED_DB, MOST_DB, MOST_USUAL_DB, LevelCorrector

TINY = PRESETS["tiny"].codec


@pytest.fixture(scope="module")
def codec() -> Codec:
    torch.manual_seed(0)
    codec = Codec(dataclasses.replace(TINY, n_codebooks=5, n_registers=2)).eval()
    codec.quantizer.level.codebook.uniform_(-1.0, 0.0)
    codes = some_codes(codec, 2)
    parts = register_powers(said(codec, codes)), 10.0**codec.quantizer.level.codebook
    made, stated = (part.flatten(0, -2).mean(dim=0) for part in parts)
    with torch.no_grad():  # untrained it says what it will; let the codebook state about that
        codec.quantizer.level.codebook += (made / stated).log10()
    return codec


def said(codec: Codec, codes: torch.Tensor) -> torch.Tensor:
    """The decoder's spectra of codes."""
    with torch.inference_mode():
        return codec.decoder.spectra(codec.quantizer.decode(codes.flatten(0, 1)[None]), None)[0]


def some_codes(codec: Codec, n_beats: int) -> torch.Tensor:
    shape = (n_beats, codec.config.latent_frames_per_beat, codec.config.n_codebooks)
    return torch.randint(0, 60, shape, generator=torch.Generator().manual_seed(n_beats))


@pytest.mark.parametrize("louder_db", [-30.0, -6.0, -0.9, 0.0, 0.9, 4.0, 30.0])
def test_a_beat_is_brought_back_to_within_a_decibel_of_what_it_states(codec: Codec, louder_db: float) -> None:
    codes = some_codes(codec, 1).expand(4, -1, -1)
    spectra = said(codec, codes)
    levels = LevelCorrector(codec, spectra, codes)
    last = spectra[:, -codec.decoder.stft.frames_per_beat :]
    held = levels.held(last * 10.0 ** (louder_db / 20.0), codes[-1:], codes[:1])
    change = 10.0 * (register_powers(held).mean(dim=1) / register_powers(last).mean(dim=1)).log10()
    allowed = min(max(louder_db, -ALLOWED_DB), ALLOWED_DB)
    limit = louder_db - min(max(louder_db - allowed, -MOST_DB), MOST_DB)
    assert change.flatten().tolist() == pytest.approx([limit] * 2, abs=0.3)
    if abs(louder_db) < 0.5:
        assert torch.equal(held, last)


def test_a_beat_is_held_alike_alone_and_after_others(codec: Codec) -> None:
    codes = some_codes(codec, 3)
    spectra = said(codec, codes)
    levels = LevelCorrector(codec, spectra, codes)
    n_frames = codec.decoder.stft.frames_per_beat
    together = levels.held(3.0 * spectra, codes, None)
    alone = levels.held(3.0 * spectra[:, 2 * n_frames :], codes[2:], codes[:2])
    assert torch.equal(together[:, 2 * n_frames :], alone)
    assert not torch.equal(alone, 3.0 * spectra[:, 2 * n_frames :])


def test_each_register_is_held_by_itself_and_silence_stays_finite(codec: Codec) -> None:
    codes = some_codes(codec, 1).expand(3, -1, -1)
    spectra = said(codec, codes)
    levels = LevelCorrector(codec, spectra, codes)
    low = spectra.clone()
    low[..., :20] *= 10.0
    held = levels.held(low, codes, None)
    assert torch.equal(held[..., 32:], levels.held(spectra, codes, None)[..., 32:])
    assert levels.held(torch.zeros_like(spectra), codes, None).abs().max() == 0.0
    silence = LevelCorrector(codec, torch.zeros_like(spectra), codes)
    assert torch.equal(silence.usual, torch.full((2,), -MOST_USUAL_DB))
