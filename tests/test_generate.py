"""Generation's invariants: exact lengths, an untouched prompt, one result however it is asked for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import loop, tiny_model

from melformer.audio.grid import BeatGrid
from melformer.audio.io import Waveform
from melformer.errors import AudioError, RequestError, TempoError
from melformer.generate import GenerationConfig, Melformer, StreamState
from melformer.generate.mixes.composer import LEAST_HEARD, context_codes
from melformer.generate.stream import AHEAD, BeatStream
from melformer.render.crossfade import crossfade
from melformer.render.renderer import prompt_matcher
from melformer.render.source_matcher import GENERATE
from melformer.stems import STEMS
from melformer.stems.units import UnitChoice

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
    ("settings", "bpm"),
    [(FREE, 120.0), (NARROW, 75.0), (GenerationConfig(variation=1.0, mute=("drums",)), 200.0)],
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
    assert np.array_equal(streamed, whole.new.samples)
    first, other = model.takes(prompt, 6, [7, 8], settings)
    assert np.array_equal(first.codes, whole.codes) and first.sources == whole.sources != other.sources
    assert np.array_equal(first.waveform.samples, whole.waveform.samples)


def test_many_takes_are_what_their_seeds_give_alone(model: Melformer) -> None:
    prompt = model.prompt(loop(), bpm=120)
    many = model.takes(prompt, 2, [3, 4, 5, 6, 7], FREE)
    for take in many:
        alone = model.continue_loop(prompt, 2, take.seed, FREE)
        assert alone.sources == take.sources


@pytest.mark.parametrize("settings", [FREE, NARROW])
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
    for settings in (FREE, NARROW):
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
    matcher = prompt_matcher(model.codec, prompt)
    lags, state = [], matcher.begin()
    for i, j in enumerate([0, 1, 2, 3, 0, 1]):
        beat, _, state = matcher.choose(latents[j], prompt.codes[j], 4 + i, 1.0, state)
        lags.append(beat)
    assert all((beat == lag).all() for beat, lag in zip(lags, [4, 4, 4, 4, 8, 8]))
    assert (matcher.choose(latents[0], prompt.codes[0], 4, 0.0, matcher.begin())[0] == GENERATE).all()


def test_a_half_beat_from_one_place_is_the_users_bit_for_bit(model: Melformer) -> None:
    rate, half, found = 44_100, 11_025, 0
    prompt = model.prompt(loop(4, 120.0, rate), bpm=120)
    result = model.continue_loop(prompt, n_beats=16, seed=3, settings=GenerationConfig(variation=0.2))
    for i, unit in enumerate(result.sources):
        choice = unit[0]
        if choice.silent or choice.shift or unit != (choice,) * 3:
            continue
        inner = slice(0, half - round(0.010 * rate))  # the last 10 ms may lead over into the next source
        source = prompt.waveform.samples[half * choice.source :][:half]
        assert np.array_equal(result.new.samples[half * i :][:half][inner], source[inner])
        found += 1
    assert found >= 4


def test_settings_change_from_the_next_bar_on(model: Melformer) -> None:
    prompt = model.prompt(loop(), bpm=120)
    plain, changed = model.stream(prompt, seed=5), model.stream(prompt, seed=5)
    assert next(plain).sources == next(changed).sources
    changed.config = GenerationConfig(mute=("drums", "bass", "other"))
    later = [(next(plain), next(changed)) for _ in range(7)]
    assert all(a.sources == b.sources for a, b in later[:2])
    assert not later[-1][1].waveform.samples.any() and later[-1][0].waveform.samples.any()


def other_line(stream: BeatStream, stem: str) -> None:
    """Ask a stream for another line of a stem."""
    draws = tuple(n + (name == stem) for n, name in zip(stream.config.draws, STEMS))
    stream.config = replace(stream.config, draws=draws)


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("n_before", [0, 5])
def test_another_draw_of_a_stem_is_heard_from_the_next_beat_and_the_others_stay(
    model: Melformer, stem: str, n_before: int
) -> None:
    whole = model.generate(loop(), n_beats=n_before + 16, seed=3, config=FREE, bpm=120)
    stream = model.stream(loop(), n_beats=n_before + 16, seed=3, config=FREE, bpm=120)
    beats = [next(stream) for _ in range(n_before)]
    other_line(stream, stem)
    beats += list(stream)
    old, new = (
        np.array([[[choice.source, choice.shift, choice.silent] for choice in unit] for unit in units])
        for units in (whole.sources, [unit for beat in beats for unit in beat.sources])
    )
    assert np.array_equal(new[: 2 * n_before], old[: 2 * n_before])
    k = STEMS.index(stem)
    after = 2 * n_before + AHEAD * (n_before > 0)  # these were planned before
    stays = [other for other in range(3) if other != k]
    assert np.array_equal(new[: after + 4 * 8, stays], old[: after + 4 * 8, stays])  # four bars
    assert (new[after, k] != old[after, k]).any()


def test_draws_have_lines_of_their_own_and_their_number_gives_them_again(model: Melformer) -> None:
    lines = []
    for draw in (0, 1, 2, 1):
        config = replace(FREE, draws=(0, draw, 0))
        lines.append([unit[1] for unit in model.generate(loop(), n_beats=16, seed=3, config=config, bpm=120).sources])
    assert lines[1] == lines[3] and lines[0] != lines[1] != lines[2] != lines[0]


def test_a_stem_that_is_held_gives_way_to_other_settings(model: Melformer) -> None:
    stream = model.stream(loop(), seed=3, config=FREE, bpm=120)
    next(stream)
    other_line(stream, "bass")
    next(stream)
    stream.config = replace(stream.config, keep=("drums",))
    beats = [next(stream) for _ in range(10)]
    drums = [unit[0] for beat in beats[2:] for unit in beat.sources]  # from the next bar on
    assert drums == [UnitChoice(i % 8) for i in range(8, 24)]


def test_a_stream_with_another_draw_is_resumed_bit_for_bit(model: Melformer, tmp_path: Path) -> None:
    stream = model.stream(loop(), seed=3, config=FREE, bpm=120)
    next(stream)
    other_line(stream, "bass")
    next(stream)
    stream.state().save(tmp_path / "asleep.stream")
    resumed = model.resume(StreamState.load(tmp_path / "asleep.stream"))
    for _ in range(20):
        mine, its = next(stream), next(resumed)
        assert mine.sources == its.sources and np.array_equal(mine.waveform.samples, its.waveform.samples)


def test_a_loop_is_closed_whatever_is_drawn_anew(model: Melformer) -> None:
    stream = model.stream(loop(), n_beats=8, seed=3, config=FREE, close_loop=True, bpm=120)
    next(stream)
    other_line(stream, "drums")
    for _ in range(4):
        next(stream)
    other_line(stream, "bass")  # the last bar is settled by now
    rest = list(stream)
    assert len(rest) == 3 and stream.ending is not None
    assert [unit for beat in rest for unit in beat.sources] == stream.ending.choices[2:]


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
    config = GenerationConfig(variation=0.0)
    result = model.continue_loop(prompt, n_beats=64, seed=3, settings=config)
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


@pytest.mark.parametrize(
    "wish",
    [{"temperature": -1}, {"temperature": float("nan")}, {"top_p": 0.0}, {"top_k": 1.5}, {"variation": 2},
     {"density": "much"}, {"min_p": True}, {"keep": "drums"}, {"mute": ("vocals",)}],
)  # fmt: skip
def test_settings_out_of_range_are_named(wish: dict) -> None:
    with pytest.raises(RequestError, match="|".join([*wish, "vocals"])):
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


def test_what_a_stream_carries_does_not_grow_but_for_its_record(model: Melformer) -> None:
    """Counted, not timed: after 60 beats as after 20, but for the choices, a few numbers a beat."""
    stream = model.stream(loop(), seed=1, bpm=120, settings=FREE)

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


@pytest.mark.parametrize("damage", ["choices", "caches.0.keys", "stems.other", "held", "index", "config", "asked"])
def test_a_damaged_state_is_refused(model: Melformer, damage: str) -> None:
    stream = model.stream(loop(), seed=1, bpm=120)
    next(stream)
    other_line(stream, "bass")
    next(stream)
    state = stream.state()
    tensors, facts = dict(state.tensors), dict(state.facts)
    if damage in tensors:
        tensors[damage] = tensors[damage][:-1] - 10_000
    else:
        facts[damage] = [["x"]] if damage == "asked" else "x"
    with pytest.raises(RequestError, match="damaged"):
        model.resume(StreamState(tensors, facts), 1)
