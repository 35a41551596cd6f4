"""Generation's invariants: exact lengths, an untouched prompt, one result however it is asked for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import loop, own_stems, tiny_model

from melformer.audio.grid import BeatGrid
from melformer.audio.io import Waveform
from melformer.errors import AudioError, RequestError
from melformer.generate import GenerationConfig, Melformer, StreamState
from melformer.generate.mixes.composer import LEAST_HEARD, context_codes
from melformer.render.crossfade import crossfade
from melformer.render.renderer import prompt_matcher
from melformer.render.source_matcher import GENERATE
from melformer.stems import STEMS

FREE = GenerationConfig(variation=1.0, density=0.5)
NARROW = GenerationConfig(variation=0.8, top_k=20, keep=("bass",))


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
        assert frames == round(16 * prompt.model_beats_per_beat)
        assert len(beat.sources) == round(2 * prompt.model_beats_per_beat)


def test_lengths_are_exact_for_every_tempo_and_512_beats() -> None:
    """The arithmetic alone, which is all that decides lengths."""
    for bpm in np.linspace(40, 240, 201):
        edges = BeatGrid(float(bpm), 44_100).edges(512 + 16)
        new = edges[16:] - edges[16]
        assert np.abs(new - np.arange(513) * 60 * 44_100 / bpm).max() <= 1


@pytest.mark.parametrize(
    ("config", "bpm"),
    [(FREE, 120.0), (NARROW, 75.0), (GenerationConfig(variation=1.0, mute=("drums",)), 200.0)],
)
def test_streamed_whole_resumed_and_first_of_many_are_one(
    model: Melformer, config: GenerationConfig, bpm: float, tmp_path: Path
) -> None:
    prompt = model.prompt(loop(4, bpm), bpm=bpm)
    whole = model.generate(prompt, n_beats=6, seed=7, config=config)
    stream = model.stream(prompt, seed=7, config=config)
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
    assert np.array_equal(streamed, whole.new.samples)
    first, other = model.generate(prompt, 6, seeds=[7, 8], config=config)
    assert np.array_equal(first.codes, whole.codes) and first.sources == whole.sources != other.sources
    assert np.array_equal(first.waveform.samples, whole.waveform.samples)


def test_many_takes_are_what_their_seeds_give_alone(model: Melformer) -> None:
    prompt = model.prompt(loop(), bpm=120)
    many = model.generate(prompt, 2, seeds=[3, 4, 5, 6, 7], config=FREE)
    for take in many:
        alone = model.generate(prompt, 2, seed=take.seed, config=FREE)
        assert alone.sources == take.sources


@pytest.mark.parametrize("config", [FREE, NARROW])
def test_the_prompt_is_untouched_up_to_the_join(model: Melformer, config: GenerationConfig) -> None:
    original = loop(4, 97.0, 44_100)
    result = model.generate(original, n_beats=2, bpm=97.0, config=config)
    prompt = result.prompt.waveform.samples
    join = round(0.030 * 44_100)
    untouched = len(prompt) - join
    assert np.array_equal(result.waveform.samples[:untouched], original.samples[:untouched])
    assert result.waveform.n_samples == result.prompt.waveform.n_samples + result.new.n_samples


def test_the_join_and_every_fade_are_without_a_click(model: Melformer) -> None:
    """The step across a boundary is no larger than steps that the sound itself makes nearby."""
    smooth = loop(4, 120.0, 44_100, 1)
    for config in (FREE, NARROW):
        result = model.generate(smooth, n_beats=4, bpm=120.0, seed=2, config=config)
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
    matcher = prompt_matcher(model.codec, prompt)
    lags, state = [], matcher.begin()
    for i, j in enumerate([0, 1, 2, 3, 0, 1]):
        beat, _, state = matcher.choose(latents[j], prompt.codes[j], 4 + i, 1.0, state)
        lags.append(beat)
    assert all((beat == lag).all() for beat, lag in zip(lags, [4, 4, 4, 4, 8, 8]))
    assert (matcher.choose(latents[0], prompt.codes[0], 4, 0.0, matcher.begin())[0] == GENERATE).all()


def test_a_half_beat_from_one_place_is_the_users_bit_for_bit(model: Melformer) -> None:
    rate, half, found = 44_100, 11_025, 0
    prompt = model.prompt(own_stems(4, 120.0, rate), bpm=120)
    result = model.generate(prompt, n_beats=16, seed=3, config=GenerationConfig(variation=0.2))
    for i, unit in enumerate(result.sources):
        choice = unit[0]
        if choice.silent or choice.shift or unit != (choice,) * 3:
            continue
        inner = slice(0, half - round(0.010 * rate))  # the last 10 ms may lead over into the next source
        source = prompt.waveform.samples[half * choice.source :][:half]
        assert np.array_equal(result.new.samples[half * i :][:half][inner], source[inner])
        found += 1
    assert found >= 4


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


@pytest.mark.parametrize("n_stems", [3, 2, 1])
def test_at_variation_zero_a_perfect_loop_stays_one_for_64_beats(model: Melformer, n_stems: int) -> None:
    stems = own_stems(4, 120.0, 22_050)
    prompt = model.prompt({name: stems[name] for name in ("other", "drums", "bass")[:n_stems]}, bpm=120)
    config = GenerationConfig(variation=0.0)
    result = model.generate(prompt, n_beats=64, seed=3, config=config)
    again = np.concatenate([prompt.waveform.samples] * 16)
    assert np.array_equal(result.new.samples, again[: result.new.n_samples])
    assert np.array_equal(result.codes, np.tile(result.codes[:4], (16, 1, 1)))


def test_closing_leads_back_and_says_how_surprising_that_is(model: Melformer) -> None:
    prompt = model.prompt(loop(8), bpm=120)
    for only_new in (False, True):
        take = model.generate(prompt, 8, seed=2, config=FREE, close_loop=True, only_new=only_new)
        assert take.ending is not None and len(set(take.ending.seam_nats.tolist())) > 1  # candidates are told apart
        assert 0.0 <= take.ending.surprise < 99.0
        piece = take.new.samples if only_new else take.waveform.samples
        step = np.abs(piece[0] - piece[-1]).max()
        assert step <= 1.1 * np.abs(np.diff(prompt.waveform.samples, axis=0)).max()
    with pytest.raises(RequestError, match="closed"):
        model.generate(prompt, 1, close_loop=True)


def test_redo_changes_the_beats_and_the_stems_it_is_asked_for(model: Melformer) -> None:
    prompt = model.prompt(loop(8), bpm=120)
    take = model.generate(prompt, 8, seed=2, config=GenerationConfig(variation=1.0, density=1.0))
    (stem,) = model.stems(prompt).present[-1:]
    again = model.redo(take, (2, 5), [stem], seed=9)
    beat, lead = 22_050 // 2, round(0.010 * 22_050)
    changed = np.flatnonzero((again.new.samples != take.new.samples).any(axis=1))
    assert 2 * beat - lead <= changed[0] and changed[-1] < 5 * beat
    k = STEMS.index(stem)
    for old, new in zip(take.sources, again.sources):
        assert [c for i, c in enumerate(old) if i != k] == [c for i, c in enumerate(new) if i != k]
    assert [u[k] for u in again.sources[4:10]] != [u[k] for u in take.sources[4:10]]
    assert np.abs(again.stems.mix().samples - again.new.samples).max() <= 1e-6
    with pytest.raises(RequestError, match="Beats 5 to 9"):
        model.redo(take, (5, 9))
    with pytest.raises(RequestError, match="vocals"):
        model.redo(take, (1, 2), ["vocals"])


def test_own_stems_are_taken_as_they_are(model: Melformer) -> None:
    whole = loop(8, channels=1)
    own = {"drums": whole, "bass": Waveform(0.5 * whole.samples[::-1].copy(), whole.sample_rate)}
    take = model.generate(own, 4, bpm=120.0, config=GenerationConfig(keep=("bass",)))
    assert np.array_equal(take.prompt.waveform.samples, own["drums"].samples + own["bass"].samples)
    assert np.array_equal(take.stems.bass.samples, own["bass"].samples[: take.new.n_samples])
    assert not take.stems.other.samples.any()
    with pytest.raises(AudioError, match="vocals"):
        model.generate({"vocals": whole}, 4, bpm=120.0)


def test_nothing_clips_and_no_beat_is_much_louder_than_the_loops_loudest(model: Melformer) -> None:
    """Stems that are loud in turns, together."""
    rate, beat = 22_050, 22_050 // 2
    time = np.arange(8 * beat) / rate
    turns = (np.arange(8 * beat) // beat % 2).astype(np.float32)
    bass = 0.9 * turns * np.sin(2 * np.pi * 55 * time)
    other = 0.9 * (1 - turns) * np.sin(2 * np.pi * 440 * time)
    own = {name: Waveform(s.astype(np.float32)[:, None], rate) for name, s in (("bass", bass), ("other", other))}
    take = model.generate(own, 32, seed=1, bpm=120.0, config=GenerationConfig(variation=1.0))
    powers = np.square(take.new.samples[: 32 * beat]).reshape(32, -1).mean(axis=1)
    together = [len({c.source // 2 % 2 for c in unit[1:] if not c.silent}) > 1 for unit in take.sources]
    assert any(together)  # beats in which both sound
    assert np.abs(take.new.samples).max() <= 1.0 + 1e-6
    assert 10 * np.log10(powers.max() / np.square(bass[beat : 2 * beat]).mean()) <= 3.0


def test_what_a_stream_carries_does_not_grow_but_for_its_record(model: Melformer) -> None:
    """Counted, not timed: after 60 beats as after 20, but for the choices, a few numbers a beat."""
    stream = model.stream(loop(), seed=1, bpm=120, config=FREE)

    def held() -> int:
        record = ("choices", "kept")
        planned = stream.planner.state
        return sum(t.numel() for name, t in stream.state().tensors.items() if name not in record) + planned.sources.size

    for _ in range(20):
        next(stream)
    after_20 = held()
    for _ in range(40):
        next(stream)
    assert held() == after_20
