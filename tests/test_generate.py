"""Generation's invariants: exact lengths, an untouched prompt, one result however it is asked for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import loop, tiny_model

from melformer.audio.grid import BeatGrid
from melformer.audio.io import Waveform
from melformer.errors import RequestError, TempoError
from melformer.generate import GenerationConfig, Melformer, StreamState
from melformer.generate.beat_generator import LEAST_HEARD, context_codes
from melformer.render.crossfade import crossfade
from melformer.render.renderer import Renderer
from melformer.render.source_matcher import GENERATE

FREE = GenerationConfig(variation=1.0, novelty=10.0)
NEURAL = GenerationConfig(own_sound=0.0, variation=1.0, novelty=10.0)


@pytest.fixture(scope="module")
def model() -> Melformer:
    return tiny_model()


@pytest.mark.parametrize(("bpm", "rate"), [(40, 22_050), (75.3, 44_100), (119.92, 48_000), (240, 44_100)])
def test_beats_lie_on_the_grid_and_lengths_are_exact(model: Melformer, bpm: float, rate: int) -> None:
    prompt = model.prompt(loop(3, bpm, rate, 1), bpm=bpm)
    stream = model.stream(prompt, n_beats=5, seed=1)
    end = prompt.waveform.n_samples
    for k, beat in enumerate(stream):
        end += beat.waveform.n_samples
        assert beat.index == k
        assert abs(end - (3 + k + 1) * 60 * rate / bpm) <= 1
        frames = beat.codes.shape[0] * beat.codes.shape[1]
        assert frames == round(16 * prompt.model_beats_per_beat) == len(beat.lags)


def test_lengths_are_exact_for_every_tempo_and_512_beats() -> None:
    """The arithmetic alone, which is all that decides lengths."""
    for bpm in np.linspace(40, 240, 201):
        edges = BeatGrid(float(bpm), 44_100).edges(512 + 16)
        new = edges[16:] - edges[16]
        assert np.abs(new - np.arange(513) * 60 * 44_100 / bpm).max() <= 1


@pytest.mark.parametrize(
    ("settings", "bpm"),
    [(FREE, 120.0), (NEURAL, 75.0), (GenerationConfig(own_sound=0.4, variation=1.0, novelty=10.0, top_k=20), 200.0)],
)
def test_streamed_whole_resumed_and_first_of_many_are_one(
    model: Melformer, settings: GenerationConfig, bpm: float, tmp_path: Path
) -> None:
    prompt = model.prompt(loop(4, bpm), bpm=bpm)
    whole = model.continue_loop(prompt, n_beats=6, seed=7, settings=settings)
    stream = model.stream(prompt, seed=7, settings=settings)
    beats = [next(stream) for _ in range(3)]
    stream.state().save(tmp_path / "asleep.stream")
    next(stream)  # what the stream does later must not reach into the saved state
    resumed = model.resume(StreamState.load(tmp_path / "asleep.stream"), n_beats=3)
    assert stream.join is not None and resumed.join is not None
    assert np.array_equal(stream.join, resumed.join)
    beats += list(resumed)
    streamed = np.concatenate([beat.waveform.samples for beat in beats])
    codes = np.concatenate([beat.codes.reshape(-1, 3) for beat in beats])
    assert np.array_equal(codes, whole.codes.reshape(-1, 3))
    assert np.abs(streamed - whole.new.samples).max() < 1e-5
    first, other = model.takes(prompt, 6, [7, 8], settings)
    assert np.array_equal(first.codes, whole.codes) and not np.array_equal(other.codes, whole.codes)
    assert np.abs(first.waveform.samples - whole.waveform.samples).max() < 1e-5


def test_many_takes_are_what_their_seeds_give_alone(model: Melformer) -> None:
    prompt = model.prompt(loop(), bpm=120)
    many = model.takes(prompt, 2, [3, 4, 5, 6, 7], FREE)
    for take in many:
        alone = model.continue_loop(prompt, 2, take.seed, FREE)
        assert np.array_equal(alone.codes, take.codes)


@pytest.mark.parametrize("settings", [FREE, NEURAL])
def test_the_prompt_is_untouched_up_to_the_join(model: Melformer, settings: GenerationConfig) -> None:
    original = loop(4, 97.0, 44_100)
    result = model.continue_loop(original, n_beats=2, bpm=97.0, settings=settings)
    prompt = result.prompt.waveform.samples
    join = round(0.030 * 44_100)
    untouched = len(prompt) - join
    assert np.array_equal(result.waveform.samples[:untouched], original.samples[:untouched])
    assert result.waveform.n_samples == result.prompt.waveform.n_samples + result.new.n_samples


def test_the_join_and_every_fade_are_without_a_click(model: Melformer) -> None:
    """The step across a boundary is no larger than steps that the sound itself makes nearby."""
    smooth = loop(4, 120.0, 44_100, 1)
    for settings in (FREE, NEURAL):
        result = model.continue_loop(smooth, n_beats=4, bpm=120.0, seed=2, settings=settings)
        steps = np.abs(np.diff(result.waveform.samples[:, 0]))
        edge = smooth.n_samples
        near = np.concatenate([steps[edge - 3_000 : edge - 50], steps[edge + 50 : edge + 3_000]])
        assert steps[edge - 3 : edge + 2].max() <= near.max() * 1.1


def test_new_loudness_continues_the_prompts(model: Melformer) -> None:
    for level in (1.0, 0.1):
        silence = Waveform(loop(8).samples * np.float32(level), 22_050)
        prompt = model.prompt(silence, bpm=120.0)
        said = model.decode_codes(prompt, prompt.codes)  # the same music, so the level must be the same too
        ratio = np.sqrt((said.samples**2).mean(axis=0) / (silence.samples**2).mean(axis=0))
        assert np.abs(20 * np.log10(ratio)).max() < 2.0, ratio


def test_codes_of_the_prompt_come_back_as_its_own_samples(model: Melformer) -> None:
    prompt = model.prompt(loop(4, 120.0, 22_050), bpm=120)
    latents = model.codec.quantizer.colours(torch.from_numpy(prompt.codes)).detach().numpy()
    matcher = Renderer(model.codec, prompt).matcher
    lags, state = [], matcher.begin()
    for i, j in enumerate([0, 1, 2, 3, 0, 1]):
        beat, _, state = matcher.choose(latents[j], prompt.codes[j], 4 + i, 1.0, state)
        lags.append(beat)
    assert all((beat == lag).all() for beat, lag in zip(lags, [4, 4, 4, 4, 8, 8]))
    assert (matcher.choose(latents[0], prompt.codes[0], 4, 0.0, matcher.begin())[0] == GENERATE).all()


def test_copied_sound_is_the_users_bit_for_bit(model: Melformer) -> None:
    prompt = model.prompt(loop(), bpm=120)
    result = model.continue_loop(prompt, n_beats=16, seed=3, settings=GenerationConfig(variation=0.0))
    beat = 22_050 // 2
    copied = [k for k in range(16) if len(set(result.lags[16 * k : 16 * k + 16])) == 1 and result.lags[16 * k]]
    assert copied  # at variation 0 codes are copied, and their sound with them
    for k in copied:
        start = prompt.waveform.n_samples + k * beat - int(result.lags[16 * k]) * beat
        inner = slice(0, beat - round(0.010 * 22_050))  # the last 10 ms may lead over into the next source
        source = prompt.waveform.samples[np.arange(start, start + beat) % prompt.waveform.n_samples]
        assert np.array_equal(result.new.samples[k * beat : (k + 1) * beat][inner], source[inner])


def test_settings_change_between_two_beats(model: Melformer) -> None:
    prompt = model.prompt(loop(), bpm=120)
    plain, changed = model.stream(prompt, seed=5), model.stream(prompt, seed=5)
    assert np.array_equal(next(plain).codes, next(changed).codes)
    changed.settings = GenerationConfig(temperature=3.0, variation=1.0, novelty=10.0)
    later = [(next(plain).codes, next(changed).codes) for _ in range(3)]
    assert any(not np.array_equal(a, b) for a, b in later)


def test_crossfade_keeps_the_level_of_like_and_unlike_sounds() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 4_000, 1)).astype(np.float32)
    assert np.allclose(crossfade(a, a), a, atol=1e-5)
    assert (crossfade(a, b) ** 2).mean() == pytest.approx(1.0, abs=0.1)
    assert np.allclose(crossfade(a, b)[0], a[0], atol=5e-3) and np.allclose(crossfade(a, b)[-1], b[-1], atol=5e-3)


@pytest.mark.parametrize(
    ("n_beats", "bpm", "heard"), [(4, 120, 8), (5, 120, 10), (3, 75, 12), (40, 120, 40), (5, 200, 2)]
)
def test_a_short_loop_is_heard_several_times(model: Melformer, n_beats: int, bpm: float, heard: int) -> None:
    prompt = model.prompt(loop(n_beats, bpm), bpm=bpm)
    codes = context_codes(prompt)
    assert len(codes) == heard and (len(codes) >= LEAST_HEARD or bpm == 200)  # at 200 BPM half a beat is left over
    rounds = len(codes) // len(prompt.codes)
    assert np.array_equal(codes, np.concatenate([prompt.codes] * rounds))


def test_at_variation_zero_a_perfect_loop_stays_one_for_64_beats(model: Melformer) -> None:
    prompt = model.prompt(loop(4, 120.0, 22_050), bpm=120)
    result = model.continue_loop(prompt, n_beats=64, seed=3, settings=GenerationConfig(variation=0.0))
    assert np.array_equal(result.codes, np.concatenate([prompt.codes] * 16))
    assert np.array_equal(result.new.samples[:-300], np.concatenate([prompt.waveform.samples] * 16)[:-300])
    longer = model.prompt(loop(40, 120.0, 22_050), bpm=120)  # more than the 32 beats that are remembered
    result = model.continue_loop(longer, n_beats=40, settings=GenerationConfig(variation=0.0))
    assert np.array_equal(result.codes, np.concatenate([longer.codes[8:], longer.codes[8:16]]))


@pytest.mark.parametrize(
    "wish",
    [{"temperature": -1}, {"temperature": float("nan")}, {"top_p": 0.0}, {"top_k": 1.5}, {"variation": 2},
     {"own_sound": "much"}, {"min_p": True}],
)  # fmt: skip
def test_settings_out_of_range_are_named(wish: dict) -> None:
    with pytest.raises(RequestError, match=next(iter(wish))):
        GenerationConfig(**wish)


@pytest.mark.parametrize("n_beats", [0, -1, 10**9, 1.5, True])
def test_impossible_numbers_of_beats_are_refused(model: Melformer, n_beats: int) -> None:
    with pytest.raises(RequestError, match="beats"):
        model.continue_loop(loop(), n_beats=n_beats, bpm=120)


@pytest.mark.parametrize("bpm", [0, -1, float("nan"), 10_000])
def test_impossible_tempi_are_refused(model: Melformer, bpm: float) -> None:
    with pytest.raises(TempoError):
        model.continue_loop(loop(), bpm=bpm)


def test_too_short_and_too_long_loops(model: Melformer) -> None:
    with pytest.raises(RequestError, match="at least 2"):
        model.prompt(loop(1), bpm=120)
    long = model.prompt(loop(70, 240.0), bpm=240.0)
    assert long.n_beats == 64 and any("70 beats" in message for message in long.messages)


def test_more_than_two_channels_are_refused(model: Melformer) -> None:
    with pytest.raises(RequestError, match="8 channels"):
        model.prompt(loop(4, channels=8), bpm=120)


def test_a_foreign_state_is_refused(model: Melformer, tmp_path: Path) -> None:
    path = tmp_path / "not.stream"
    path.write_bytes(b"nonsense")
    with pytest.raises(RequestError, match="no saved stream"):
        StreamState.load(path)


def test_memory_of_a_stream_does_not_grow(model: Melformer) -> None:
    """Counted, not timed: every tensor and list that a stream holds has the same size after 20 as after 60 beats."""
    stream = model.stream(loop(), seed=1, bpm=120, settings=NEURAL)

    def held() -> int:
        tensors = stream.state().tensors
        return sum(t.numel() for t in tensors.values())

    for _ in range(20):
        next(stream)
    after_20 = held()
    for _ in range(40):
        next(stream)
    assert held() == after_20


@pytest.mark.parametrize("bpm", [50.0, 120.0, 200.0])
@torch.inference_mode()
def test_the_decoder_begins_again_as_if_it_had_never_paused(model: Melformer, bpm: float) -> None:
    """Beats that are copied are not decoded; what is decoded after them sounds as if they had been."""
    prompt = model.prompt(loop(8, bpm), bpm=bpm)
    lazy, busy = (Renderer(model.codec, prompt) for _ in range(2))
    codes = torch.from_numpy(np.concatenate([prompt.codes, prompt.codes[::-1]])[:12].copy())
    for i, beat in enumerate(codes):
        own_sound = 1.0 if i < len(codes) - 3 else 0.0
        lazy.push(beat, own_sound)
        before = busy.state
        busy.push(beat, own_sound)
        if busy.state.n_decoded < busy.state.n_pushed:
            busy.state = busy._decoded_state(beat, before)
        if i < len(codes) - 3:
            assert lazy.state.n_decoded == 0
    end = prompt.waveform.n_samples
    start, stop = (end + round(beats * lazy.samples_per_model_beat) for beats in (len(codes) - 3, len(codes) - 1.5))
    assert lazy.state.n_decoded == lazy.state.n_pushed
    assert np.abs(lazy.render(start, stop) - busy.render(start, stop)).max() < 1e-5
