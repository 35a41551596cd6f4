"""The player's own sound: exact where it is copied, without a click where it changes, and one however it is asked."""

import itertools

import numpy as np
import pytest
import torch
from tiny import tiny_model

from melformer.audio.io import Waveform
from melformer.codec.source_scorer import band_levels
from melformer.generate import Melformer
from melformer.generate.mixes.continue_mix import continue_mix
from melformer.generate.mixes.sampling import MixConfig
from melformer.generate.prompt import Prompt
from melformer.render.band_mixer import BandMixer
from melformer.render.renderer import Renderer
from melformer.render.source_matcher import FOLLOW, GENERATE, WHOLE, SourceMatcher, cheapest_path
from melformer.render.stereo_image import channel_phases

RATE, BEAT, N_BANDS = 22_050, 11_025, 6


@pytest.fixture(scope="module")
def model() -> Melformer:
    """Its scorer's weights are random, so that bands choose wildly."""
    return tiny_model(seed=1)


def music(n_beats: int = 8, seed: int = 0) -> Waveform:
    """Coloured noise and tones that play round without a seam, other ones in each channel."""
    rng = np.random.default_rng(seed)
    n = n_beats * BEAT
    spectrum = rng.standard_normal((2, n // 2 + 1)) + 1j * rng.standard_normal((2, n // 2 + 1))
    noise = np.fft.irfft(spectrum / (1.0 + np.arange(n // 2 + 1) / 300.0), n)
    return Waveform((0.2 * noise / noise.std()).T.astype(np.float32), RATE)


def recited(model: Melformer, prompt: Prompt, codes: np.ndarray, own_sound: float = 1.0) -> tuple[Renderer, np.ndarray]:
    """Given codes (n, F, n_codebooks) rendered as a prompt's continuation, and the sound of all but the last beat."""
    renderer, end = Renderer(model.codec, prompt, torch.from_numpy(codes), own_sound), prompt.waveform.n_samples
    return renderer, np.concatenate(
        [renderer.render(end + i * BEAT, end + (i + 1) * BEAT) for i in range(len(codes) - 1)]
    )


def novelty(prompt: Prompt, n_beats: int, seed: int) -> np.ndarray:
    """Codes that no beat of the prompt has."""
    return np.random.default_rng(seed).integers(0, 64, (n_beats, *prompt.codes.shape[1:]))


def test_a_beat_with_a_prompt_beats_codes_is_its_samples(model: Melformer) -> None:
    """Bit for bit, whatever is played before and after, but for the 10 ms that lead over into another source."""
    prompt = model.prompt(music(), bpm=120.0)
    codes = novelty(prompt, 10, 3)
    known = {2: 5, 3: 6, 6: 1, 8: 1}
    for place, source in known.items():
        codes[place] = prompt.codes[source]
    _, sound = recited(model, prompt, codes)
    for place, source in known.items():
        own = prompt.waveform.samples[source * BEAT : (source + 1) * BEAT]
        new = sound[place * BEAT : (place + 1) * BEAT]
        inner = BEAT if known.get(place + 1) == source + 1 else BEAT - round(0.010 * RATE)
        assert np.array_equal(new[:inner], own[:inner]), (place, source)
    between = sound[4 * BEAT : 6 * BEAT]
    others = [prompt.waveform.samples[j * BEAT : (j + 2) * BEAT] for j in range(7)]
    assert not any(np.array_equal(between, other) for other in others)


def test_own_sound_copies_nothing_at_0_and_ever_more_up_to_1(model: Melformer) -> None:
    """A copy is 0.1 away; the decoder, 0.3 away, has its price multiplied."""
    latents, codes = np.zeros((4, 16, 3), np.float32), np.zeros((4, 16, 2), np.int64)
    shares = []
    for own_sound in (0.0, 0.1, 0.5, 1.0):
        own = SourceMatcher(latents, codes, Told(0.3), np.zeros((4, 16, 2), np.float32))  # type: ignore[arg-type]
        shares.append(float((own.choose(latents[0], codes[0] + 1, 4, own_sound, own.begin())[0] != GENERATE).mean()))
    assert shares == [0.0, 0.0, 1.0, 1.0]
    prompt = model.prompt(music(), bpm=120.0)
    codes = novelty(prompt, 4, 5)
    renderer, _ = recited(model, prompt, codes, own_sound=0.0)
    assert (renderer.lags == GENERATE).all() and (renderer.bands == FOLLOW).all()


def test_where_a_span_is_cut_does_not_matter(model: Melformer) -> None:
    """Fades and bands reach across the edges of what is rendered at once."""
    prompt = model.prompt(music(), bpm=120.0)
    renderer, _ = recited(model, prompt, novelty(prompt, 4, 9))
    rng = np.random.default_rng(0)
    renderer.lags = rng.integers(0, 8, 64)
    renderer.bands = np.where(rng.random((64, N_BANDS)) < 0.2, rng.integers(0, 8, (64, N_BANDS)), FOLLOW)
    start = prompt.waveform.n_samples + 2 * BEAT
    whole = renderer.render(start, start + BEAT)
    for cut in (1, 700, 5_000, BEAT - 3):
        halves = [renderer.render(start, start + cut), renderer.render(start + cut, start + BEAT)]
        assert np.abs(np.concatenate(halves) - whole).max() < 1e-5  # the resampler rounds by span


def test_changes_of_source_are_no_rougher_than_the_sound(model: Melformer) -> None:
    """Some hundred joins of frames and of bands: the second difference there, against everywhere else."""
    prompt = model.prompt(music(8, 4), bpm=120.0)
    near, far = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        renderer, _ = recited(model, prompt, novelty(prompt, 4, seed))
        n = len(renderer.lags)
        renderer.lags = np.repeat(rng.integers(1, 8, n // 4), 4)
        bands = np.where(rng.random((n, N_BANDS)) < 0.1, rng.integers(1, 8, (n, N_BANDS)), FOLLOW)
        renderer.bands = bands if seed % 2 else np.full_like(bands, FOLLOW)
        sound = renderer.render(prompt.waveform.n_samples + BEAT, prompt.waveform.n_samples + 3 * BEAT)
        rough = np.abs(np.diff(sound, 2, axis=0)).max(axis=1)
        frame = BEAT / 16
        to_edge = np.abs((np.arange(len(rough)) + 1 + frame * 2) % (4 * frame) - frame * 2)
        near.append(rough[to_edge < 0.012 * RATE])
        far.append(rough[to_edge > 0.020 * RATE])
    inside, outside = np.concatenate(near), np.concatenate(far)
    assert inside.mean() <= 1.1 * outside.mean()
    assert np.quantile(inside, 0.999) <= 1.1 * np.quantile(outside, 0.999)


def test_a_loop_whose_seam_clicks_is_faded_where_it_plays_round(model: Melformer) -> None:
    """And one without a click is not touched."""
    for rough in (True, False):
        n = 4 * BEAT
        time = np.arange(n) / n
        tone = 0.3 * np.cos(2 * np.pi * (440.25 if rough else 440.0) * time + 0.4)
        prompt = model.prompt(Waveform(np.stack([tone, tone], axis=1).astype(np.float32), RATE), bpm=120.0)
        renderer, _ = recited(model, prompt, np.concatenate([prompt.codes, novelty(prompt, 3, 1)]))
        renderer.lags = np.repeat([4, 4, 4, 4, 8, 8, 8], 16)[-len(renderer.lags) :]
        renderer.bands = np.full_like(renderer.bands, WHOLE)
        sound = renderer.render(2 * n - BEAT, 2 * n + BEAT)
        bends = np.abs(np.diff(sound[:, 0].astype(np.float64), 2))
        limit = 1.5 * bends[1_000:5_000].max()  # a fade bends a little; the seam as it is bends 300 times as much
        assert bends[BEAT - 300 : BEAT + 300].max() <= limit
        own = prompt.waveform.samples[np.arange(n - BEAT, n + BEAT) % n]
        assert np.array_equal(sound, own) != rough
        assert np.array_equal(sound[: BEAT - 221], own[: BEAT - 221])


def test_decoded_sound_is_as_wide_as_the_prompt() -> None:
    """Correlated where the prompt is, and wide where its channels have nothing in common."""
    rng = np.random.default_rng(0)
    low, left, right = (np.cumsum(rng.standard_normal(60_000)) * 0.02, *rng.standard_normal((2, 60_000)))
    low -= np.convolve(low, np.ones(500) / 500, mode="same")
    stereo = np.stack([5.0 * low + 0.1 * np.diff(left, append=0.0), 5.0 * low + 0.1 * np.diff(right, append=0.0)], 1)
    hz = np.fft.rfftfreq(4_096, 1.0 / 44_100)
    phases = channel_phases(stereo, 44_100, hz)
    together = np.cos(phases[0] - phases[1])
    assert together[(hz > 100) & (hz < 400)].mean() > 0.95
    assert together[(hz > 8_000) & (hz < 18_000)].mean() < 0.6 and together.min() > -0.1
    assert not channel_phases(stereo[:, :1], 44_100, hz).any()
    assert np.abs(channel_phases(stereo[:, [0, 0]], 44_100, hz)).max() < 1e-3


def test_bands_that_all_change_are_the_other_sound() -> None:
    """Perfect reconstruction: all bands of a source are that source, none of them leave the base untouched."""
    rng = np.random.default_rng(0)
    patches = BandMixer(44_100, 97.0, N_BANDS, 24_000.0)
    frames = patches.frames(0, 20_000)
    first, last = patches.span(frames)
    base, other = rng.standard_normal((2, last - first, 2)).astype(np.float32)
    inner = slice(patches.n_fft, -patches.n_fft)
    added = patches.difference({5: other}, np.full((len(frames), N_BANDS), 5), base)
    assert np.abs((base + added)[inner] - other[inner]).max() < 1e-5
    assert not patches.difference({5: other}, np.full((len(frames), N_BANDS), FOLLOW), base).any()


def test_a_band_takes_its_frequencies_and_no_others() -> None:
    patches = BandMixer(44_100, 120.0, N_BANDS, 24_000.0)
    frames = patches.frames(0, 20_000)
    first, last = patches.span(frames)
    time = np.arange(last - first) / 44_100.0
    low, high = (np.sin(2 * np.pi * hz * time)[:, None].astype(np.float32) for hz in (100.0, 15_000.0))
    chosen = np.full((len(frames), N_BANDS), FOLLOW)
    chosen[:, -1] = 3
    inner = slice(patches.n_fft, -patches.n_fft)
    result = (low + patches.difference({3: high}, chosen, low))[inner]
    assert np.abs(result - (low + high)[inner]).max() < 0.01


def test_paths_are_the_cheapest_of_all() -> None:
    rng = np.random.default_rng(0)
    costs, start = rng.random((5, 4, 3)), rng.random((4, 3))
    found = cheapest_path(costs, start, 0.3)
    for band in range(4):

        def price(path: tuple[int, ...], band: int = band) -> float:
            steps = sum(0.3 for a, b in itertools.pairwise(path) if a != b)
            return start[band, path[0]] + steps + sum(costs[t, band, s] for t, s in enumerate(path))

        best = min(itertools.product(range(3), repeat=5), key=price)
        assert tuple(found[:, band].tolist()) == best


def test_levels_are_of_their_frame_and_band() -> None:
    time = np.arange(4 * 24_000) / 48_000.0
    samples = torch.from_numpy((0.5 * np.sin(2 * np.pi * 3_000.0 * time) * (time > 1.0)).astype(np.float32))
    levels = band_levels(samples, 64, 24, 24_000)
    loudest = levels[48].argmax().item()
    assert (levels[40:56].argmax(dim=1) == loudest).all() and 10 <= loudest <= 14
    assert (levels[4:28, loudest] < levels[48, loudest] - 2.0).all()


def test_whole_beats_and_followers_are_told_apart(model: Melformer) -> None:
    prompt = model.prompt(music(), bpm=120.0)
    codes = novelty(prompt, 3, 1)
    codes[1] = prompt.codes[4]
    renderer, _ = recited(model, prompt, codes)
    assert (renderer.bands[16:32] == WHOLE).all() and not (renderer.bands[:16] == WHOLE).any()
    assert (renderer.lags[16:32] == 8 + 1 - 4).all()


def test_prompts_of_two_beats_are_enough(model: Melformer) -> None:
    result = continue_mix(model, model.prompt(music(2), bpm=120.0), 4, config=MixConfig(variation=1.0))
    assert result.new.n_samples == 4 * BEAT and np.isfinite(result.new.samples).all()


class Told:
    """A scorer that says what it was told: every beat of the prompt lies 0.1 away, the decoder `decoder`; the first
    beat's tones are the new ones, the others' are not."""

    n_bands = 2

    def __init__(self, decoder: float) -> None:
        self.decoder = decoder

    def record(self, latents: torch.Tensor, *_: torch.Tensor) -> int:
        return len(latents)

    def __call__(self, n_beats: int, latents: torch.Tensor, *_: object) -> tuple[torch.Tensor, ...]:
        shape = (len(latents), n_beats, self.n_bands)
        tones = torch.zeros(shape)
        tones[:, 1:] = 1.0
        return torch.full(shape, 0.1), torch.full((shape[0], 2), self.decoder), tones

    def distances(self, n_beats: int, latents: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(latents), n_beats)


class WrongTones(Told):
    """No beat of the prompt has the new tones."""

    def __call__(self, n_beats: int, latents: torch.Tensor, *_: object) -> tuple[torch.Tensor, ...]:
        copy, decoder, tones = super().__call__(n_beats, latents)
        return copy, decoder, torch.ones_like(tones)


@pytest.mark.parametrize(("decoder", "lag"), [(0.3, 4), (0.05, GENERATE)])
def test_of_sources_that_are_as_near_the_one_with_the_right_tones_is_copied(decoder: float, lag: int) -> None:
    latents, codes = np.zeros((4, 16, 3), np.float32), np.zeros((4, 16, 2), np.int64)
    own = SourceMatcher(latents, codes, Told(decoder), np.zeros((4, 16, 2), np.float32))  # type: ignore[arg-type]
    lags, bands, _ = own.choose(latents[0], codes[0] + 1, 4, 1.0, own.begin())
    assert (lags == lag).all() and (bands == FOLLOW).all()
    wrong = SourceMatcher(latents[1:], codes[1:], WrongTones(0.2), np.zeros((3, 16, 2), np.float32))  # type: ignore[arg-type]
    assert (wrong.choose(latents[0], codes[0] + 1, 3, 1.0, wrong.begin())[0] == GENERATE).all()
