"""What a take may not become: stuck, of another colour, in another harmony, silent."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import loop, tiny_model

from melformer.audio.io import Waveform
from melformer.generate import GenerationConfig, Melformer
from melformer.generate.beat_generator import MOST_DRAWS, MOST_REPEATS, BeatGenerator
from melformer.generate.code_features import CodeFeatures
from melformer.generate.constraints import (
    LOUDER_DB,
    MORE_BAR,
    MORE_COLOUR,
    MORE_TONE,
    SOFTER_DB,
    LoudnessLimit,
    NoveltyLimit,
    longest_run,
)

FREE = GenerationConfig(variation=1.0, novelty=10.0)


@pytest.fixture(scope="module")
def model() -> Melformer:
    return tiny_model()


class Plain(CodeFeatures):
    """Hears no difference between beats."""

    def colours(self, codes: torch.Tensor) -> np.ndarray:
        return np.zeros((len(codes), 1), np.float32)

    def powers(self, codes: torch.Tensor) -> np.ndarray:
        return np.ones(len(codes), np.float32)

    def chroma(self, codes: torch.Tensor) -> np.ndarray:
        return np.zeros((len(codes), 12), np.float32)


def heard_by(kind: type[CodeFeatures], model: Melformer) -> CodeFeatures:
    """The model's features of codes, as one of these classes hears them."""
    return kind(model.codec, model.code_features.book, model.code_features.silent)


def fits(generator: BeatGenerator, row: int, beat: torch.Tensor, settings: GenerationConfig) -> bool:
    return bool(generator._fits([row], beat[None, None], settings)[0, 0])


@pytest.mark.parametrize("n_takes", [1, 3])
def test_what_does_not_fit_is_drawn_again_and_then_the_prompts(model: Melformer, n_takes: int) -> None:
    """Each take by itself: the first finds its beat at the last draw, the second at once, the third never."""
    prompt = model.prompt(loop(4), bpm=120)
    generator = BeatGenerator(model.transformer, prompt, [0, 1, 2][:n_takes], model.code_features)
    asked = []

    def drawn(settings: GenerationConfig, rows: list[int], attempts: range) -> torch.Tensor:
        asked.append((rows, list(attempts)))
        kinds = torch.tensor([[10 * (attempt + 1) + row for row in rows] for attempt in attempts])
        return kinds[..., None, None].expand(*kinds.shape, *prompt.codes.shape[1:])

    def allowed(rows: list[int], drafts: torch.Tensor, settings: GenerationConfig) -> np.ndarray:
        return np.isin(drafts[..., 0, 0].numpy(), [10 * MOST_DRAWS, 11, 21])

    generator._drawn, generator._fits = drawn, allowed  # type: ignore[method-assign, assignment]
    found = generator._fitting(FREE)
    assert found[:2, 0, 0].tolist() == [10 * MOST_DRAWS, 11][:n_takes]
    everything = list(range(MOST_DRAWS))
    if n_takes == 1:
        assert asked == [([0], everything)]
    else:
        assert np.array_equal(found[2].numpy(), prompt.codes[0])
        assert asked == [([0, 1, 2], everything[:2]), ([0, 2], everything[2:])]


def test_every_draw_is_another_one_and_the_same_alone_and_among_others(model: Melformer) -> None:
    """Also when it is drawn later than others, or with fewer."""
    prompt = model.prompt(loop(4), bpm=120)

    def drafts(seeds: list[int], *rounds: tuple[list[int], range]) -> list[torch.Tensor]:
        generator = BeatGenerator(model.transformer, prompt, seeds, model.code_features)
        return [draft for rows, attempts in rounds for draft in generator._drawn(FREE, rows, attempts)]

    alone = drafts([2], ([0], range(4)))
    pair = drafts([1, 2], ([0, 1], range(2)), ([1], range(2, 4)))
    five = drafts([1, 2, 3, 4, 5], ([0, 1, 2, 3, 4], range(2)), ([1, 4], range(2, 4)))
    for draws, column in ((pair, [1, 1, 0, 0]), (five, [1, 1, 0, 0])):
        assert [torch.equal(one[0], drawn[i]) for one, drawn, i in zip(alone, draws, column)] == [True] * 4
    assert not torch.equal(alone[0], alone[1]) and not torch.equal(alone[1], alone[2])


def test_a_take_does_not_get_stuck(model: Melformer) -> None:
    prompt = model.prompt(loop(4), bpm=120)
    generator = BeatGenerator(model.transformer, prompt, [1, 2], heard_by(Plain, model))
    generator.most_repeats = MOST_REPEATS  # an untrained codec hears the loop's beats as one
    stuck = torch.from_numpy(prompt.codes[2])
    for _ in range(MOST_REPEATS + 1):
        assert fits(generator, 0, stuck, FREE)
        generator.append(stuck.expand(2, *stuck.shape))
    assert not fits(generator, 1, stuck, FREE)
    other = stuck.clone()
    other[:, 0] += 1
    assert fits(generator, 1, other % 64, FREE)
    one = np.array([1, 2, 2, 1]).reshape(4, 1, 1)
    assert longest_run(one) == 2 and longest_run(one[1:3]) > 1_000


class Tinted(Plain):
    """Hears a colour in the first codebook: a code is worth a hundredth."""

    def colours(self, codes: torch.Tensor) -> np.ndarray:
        return codes[..., 0].float().mean(dim=1, keepdim=True).numpy() / 100.0


def test_a_beat_may_not_have_a_colour_that_the_prompt_has_not(model: Melformer) -> None:
    """The more novelty is allowed, the further a beat may go."""
    prompt = model.prompt(loop(4), bpm=120)
    prompt = replace(prompt, codes=np.full_like(prompt.codes, 3) + np.arange(4)[:, None, None])
    generator = BeatGenerator(model.transformer, prompt, [1, 2], heard_by(Tinted, model))
    generator.most_repeats = 1_000
    at_half = round(100 * MORE_COLOUR)
    near, far = (torch.full(prompt.codes.shape[1:], 6 + at_half + k) for k in (-1, 1))
    assert fits(generator, 0, near, GenerationConfig()) and not fits(generator, 0, far, GenerationConfig())
    assert fits(generator, 0, far, FREE)
    known = torch.from_numpy(prompt.codes[2])
    assert fits(generator, 0, known, GenerationConfig(novelty=0.01))


class Tuned(Plain):
    """Hears one pitch class, the first code."""

    def chroma(self, codes: torch.Tensor) -> np.ndarray:
        return np.eye(12, dtype=np.float32)[codes[:, 0, 0].numpy()]


def test_a_beat_may_leave_the_harmony_no_further_than_the_prompt_does(model: Melformer) -> None:
    shape = model.prompt(loop(4), bpm=120).codes.shape[1:]
    tuned = heard_by(Tuned, model)

    def novelty(pitches: list[int], bar: int = 1) -> NoveltyLimit:
        return NoveltyLimit(
            tuned, np.broadcast_to(np.array(pitches)[:, None, None], (len(pitches), *shape)).copy(), bar
        )

    def judged(novelty: NoveltyLimit, said: torch.Tensor) -> float:
        return float(novelty(said[None, :-1], said[None, -1:])[0, 0])

    def beats(*pitches: int) -> torch.Tensor:
        played = torch.full((len(pitches), *shape), 1)
        played[:, 0] = torch.tensor(pitches)[:, None]
        return played

    still, moving, once = novelty([0, 4, 0, 4]), novelty([0, 4, 5, 7]), novelty([0] * 7 + [4])
    assert moving.beat.spread == pytest.approx(1.0)
    assert still.beat.spread == once.beat.spread == pytest.approx(0.0)  # one odd beat is no rule
    assert judged(still, beats(9)) == pytest.approx(1.0 / MORE_BAR) and judged(moving, beats(9)) < 1.0
    assert still.beat(tuned.chroma(beats(9))) == pytest.approx(1.0 / MORE_TONE)
    assert judged(still, beats(4)) == pytest.approx(0.0)
    toneless = NoveltyLimit(
        model.code_features, np.zeros((4, *shape), np.int64), 2
    )  # code 0 of a register is no partial
    assert not model.code_features.chroma(torch.zeros(1, *shape, dtype=torch.int64)).any()
    assert toneless.bar(model.code_features.chroma(beats(9))) == 0.0
    bars = novelty([0, 4, 0, 4, 0, 4, 0, 4], bar=2)
    assert judged(bars, beats(0, 4)) == pytest.approx(0.0, abs=1e-4)
    assert judged(bars, beats(4, 4)) == pytest.approx((1.0 - 0.5**0.5) / MORE_BAR, rel=1e-4)  # known, but not in a row
    assert judged(bars, beats(4)) == pytest.approx(0.0, abs=1e-4)  # no bar yet


def test_a_take_does_not_fall_silent(model: Melformer) -> None:
    """Half a bar of silence is what this prompt has, so a take may have as much, and no more."""
    sound = loop(4).samples.copy()
    sound[len(sound) // 4 : 3 * len(sound) // 4] = 0.0
    prompt = model.prompt(Waveform(sound, loop(4).sample_rate), bpm=120)
    codes = np.zeros_like(prompt.codes)
    codes[0], codes[3] = 1, 2
    generator = BeatGenerator(
        model.transformer, replace(prompt, codes=codes), [1, 2], Plain(model.codec, 0, np.array([5]))
    )
    generator.most_repeats = 1_000
    assert generator.silence(codes).tolist() == [False, True, True, False] and generator.silence.longest == 2
    assert generator.silence(np.full_like(codes, 5)).all() and not generator.silence(np.full_like(codes, 7)).any()
    for kind in (0, 5):  # soft in the prompt, and silence itself
        pause = torch.full_like(torch.from_numpy(codes[1]), kind)
        for _ in range(2):
            assert fits(generator, 0, pause, FREE)
            generator.append(pause.expand(2, *pause.shape))
        assert not fits(generator, 1, pause, FREE)
        for k in (3, 0):
            generator.append(torch.from_numpy(codes[[k, k]]))


def test_a_loop_that_ends_softly_may_go_on_so_but_not_for_long() -> None:
    """Two loud beats and two soft ones: played round, as loud as ever; after the soft ones, two more are too many."""
    loud, soft = 1.0, 1e-3
    level = LoudnessLimit(np.array([loud, loud, soft, soft]))
    assert level(np.array([soft, soft, loud, loud])) == 0.0
    assert level(np.array([loud, soft, soft, soft])) == pytest.approx(10.0 * np.log10(2.0) / SOFTER_DB, rel=0.01)
    assert level(np.array([soft, soft, soft, soft])) > 2.0
    assert level(np.array([soft, soft, soft, loud])) == 0.0  # it leads back
    assert level(np.array([soft, soft, soft])) == 0.0  # too few to tell
    assert level(np.array([loud, loud, loud, loud])) == pytest.approx(0.0, abs=1e-6)
    assert level(np.array([loud, loud, loud, 3.0])) == pytest.approx(10.0 * np.log10(1.5) / LOUDER_DB, rel=0.01)
    silent = LoudnessLimit(np.zeros(2))
    assert silent(np.zeros(2)) == 0.0 and silent(np.array([0.0, 0.1])) > 2.0
    even = LoudnessLimit(np.array([0.1]))
    assert even(np.array([0.1])) == pytest.approx(0.0, abs=1e-6) and even(np.array([0.01])) > 2.0


def test_levels_are_heard_where_codes_state_them() -> None:
    said = tiny_model()
    codes = torch.zeros(2, 16, 3, dtype=torch.int64)
    quantizer = said.codec.quantizer
    quantizer.level.codebook[5] = torch.tensor([-1.0, -2.0])
    codes[1, :8, quantizer.n_learned] = 5
    assert said.code_features.powers(codes) == pytest.approx([2.0, (2.0 + 0.11) / 2])
