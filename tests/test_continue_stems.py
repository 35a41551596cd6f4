"""Continuing in stems: what the pointer plans, what the renderer plays, and what a listener may rely on."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_model

from melformer.audio.grid import BeatGrid
from melformer.audio.io import Waveform, read_waveform, write_waveform
from melformer.audio.tempo import Tempo
from melformer.cli import main
from melformer.data.note_units import alikeness
from melformer.errors import CheckpointError, ConfigError, RequestError
from melformer.generate import GenerationConfig
from melformer.generate.generated import assemble
from melformer.generate.loop_stems import LoopStems
from melformer.generate.planning.bridge import condition_of
from melformer.generate.planning.joint_planning import advance_together
from melformer.generate.planning.plan_options import FREE, PlanOptions
from melformer.generate.prompt import Prompt
from melformer.generate.stream import BeatStream
from melformer.hub.parts import load_pointer, save_part
from melformer.render.pitch import pitch_shift
from melformer.render.stem_renderer import StemRenderer
from melformer.stems import STEMS, Stems
from melformer.stems.units import UnitChoice
from melformer.transformer.pointer import Pointer, PointerConfig

RATE, BPM, N_BEATS = 22_050, 117.3, 8
CODEC = tiny_model().codec
TINY = PointerConfig(dim=24, n_layers=1, n_heads=2, n_kv_heads=1, stem_dim=8, key_dim=8, dropout=0.0)


@pytest.fixture(scope="module")
def pointer():
    torch.manual_seed(0)
    return Pointer(TINY).eval()


@pytest.fixture(scope="module")
def stems():
    n = int(BeatGrid(BPM, RATE).edges(N_BEATS)[-1])
    rng, t = np.random.default_rng(0), np.arange(n)[:, None] / RATE
    beat = np.exp(-8 * ((t * BPM / 60) % 1.0))
    drums = 0.2 * beat * rng.standard_normal((n, 2))
    bass = 0.3 * np.sin(2 * np.pi * 55 * 2 ** (np.floor(t * BPM / 60) % 4 / 4) * t) * np.ones((1, 2))
    return Stems.from_mapping(
        {"drums": Waveform(drums.astype(np.float32), RATE), "bass": Waveform(bass.astype(np.float32), RATE)}
    )


@pytest.fixture(scope="module")
def prompt(stems):
    codes = np.zeros((N_BEATS, 16, 3), np.int64)
    tempo = Tempo(BPM, 1.0, "as given", 0.0, 1.0)
    return Prompt(stems.mix(), BPM, tempo, N_BEATS, 4, codes, [], "loop")


def made(pointer, prompt, stems, n_beats=8, seed=3, **config):
    stream = BeatStream(LoopStems(prompt, stems), pointer, CODEC, GenerationConfig(**config), n_beats, seed)
    return assemble(stream, list(stream))


def test_a_continuation_has_the_length_of_its_beats(pointer, prompt, stems):
    for n_beats in (1, 5, 19):
        new = made(pointer, prompt, stems, n_beats).new
        edges = BeatGrid(BPM, RATE).edges(N_BEATS + n_beats)
        assert new.n_samples == edges[-1] - edges[N_BEATS]


def test_the_stems_of_a_result_add_up_to_it_and_absent_ones_are_silent(pointer, prompt, stems):
    result = made(pointer, prompt, stems, variation=0.8)
    assert np.abs(result.stems.mix().samples - result.new.samples).max() <= 1e-6
    assert not result.stems.other.samples.any()


def test_kept_stems_are_the_loop_played_round(pointer, prompt, stems):
    result = made(pointer, prompt, stems, n_beats=16, variation=1.0, keep=STEMS)
    n = stems.drums.n_samples
    for name in ("drums", "bass"):
        assert np.array_equal(result.stems[name].samples[:n], stems[name].samples)
    assert np.array_equal(result.new.samples[:n], prompt.waveform.samples)
    assert all(unit[0] == UnitChoice(i % 16) for i, unit in enumerate(result.sources))


def test_one_kept_stem_stays_while_others_move(pointer, prompt, stems):
    result = made(pointer, prompt, stems, variation=1.0, keep=("drums",))
    n = min(result.new.n_samples, stems.drums.n_samples)
    assert np.array_equal(result.stems.drums.samples[:n], stems.drums.samples[:n])
    assert any(unit[1] != UnitChoice(i % 16) for i, unit in enumerate(result.sources))


def test_a_muted_stem_is_silent(pointer, prompt, stems):
    assert not made(pointer, prompt, stems, mute=("bass",)).stems.bass.samples[RATE // 10 :].any()


def test_planners_decide_together_as_alone_to_the_last_bit(pointer, prompt, stems):
    loop, seeds, options = LoopStems(prompt, stems), range(6), PlanOptions(variation=(0.8, 0.8, 0.8))
    together = [loop.planner(pointer, seed) for seed in seeds]
    rows = [advance_together(together, [options] * 6, [FREE] * 6) for _ in range(24)]
    for seed in seeds:
        alone = loop.planner(pointer, seed)
        assert [advance_together([alone], [options], [FREE])[0] for _ in range(24)] == [row[seed] for row in rows]
        assert all(torch.equal(a.keys, b.keys) for a, b in zip(alone.state.caches, together[seed].state.caches))


def test_drums_are_cut_as_often_as_the_pointer_says_and_kept_ones_never(prompt, stems):
    torch.manual_seed(0)
    eager = Pointer(TINY).eval()
    loop, options = LoopStems(prompt, stems), PlanOptions(variation=(0.8, 0.8, 0.8))
    planner = loop.planner(eager, 3)
    drums = [advance_together([planner], [options], [FREE])[0][0][0] for _ in range(64)]
    cut = [choice.second for choice in drums if choice.second is not None]
    assert len(cut) > 32, "untrained, every half unit is about as likely"
    assert all(second != 2 * choice.source + 1 for choice, second in zip(drums, cut) if choice.second == second)
    kept = loop.planner(eager, 3)
    options = PlanOptions(keep=(True, False, False))
    assert [advance_together([kept], [options], [FREE])[0][0][0] for _ in range(20)] == [
        UnitChoice(i % 16) for i in range(20)
    ]


def test_streamed_equals_whole_and_a_seed_is_a_take(pointer, prompt, stems):
    one = made(pointer, prompt, stems, variation=0.7)
    stream = BeatStream(LoopStems(prompt, stems), pointer, CODEC, GenerationConfig(variation=0.7), None, 3)
    streamed = np.concatenate([next(stream).waveform.samples for _ in range(8)])
    assert np.array_equal(streamed, one.new.samples)
    assert made(pointer, prompt, stems, variation=0.7).sources == one.sources
    assert made(pointer, prompt, stems, variation=0.7, seed=4).sources != one.sources


def test_the_prompt_stays_up_to_the_join(pointer, prompt, stems):
    result = made(pointer, prompt, stems)
    n = prompt.waveform.n_samples
    untouched = n - round(0.030 * RATE)
    assert np.array_equal(result.waveform.samples[:untouched], prompt.waveform.samples[:untouched])
    assert np.array_equal(result.waveform.samples[n:], result.new.samples)


@pytest.mark.parametrize("shift", [-5, 3, 7])
def test_a_shifted_tone_has_its_new_pitch_and_its_level(shift):
    t = np.arange(4 * RATE) / RATE
    tone = (0.3 * np.sin(2 * np.pi * 110 * t) + 0.1 * np.sin(2 * np.pi * 330 * t)).astype(np.float32)[:, None]
    moved = pitch_shift(tone, shift, RATE)
    spectrum = np.abs(np.fft.rfft(moved[:, 0] * np.hanning(len(moved))))
    found = np.argmax(spectrum) / 4
    assert abs(1200 * np.log2(found / (110 * 2 ** (shift / 12)))) < 10  # cents
    assert moved.std() == pytest.approx(tone.std(), rel=0.1) and moved.shape == tone.shape


def test_no_shift_changes_nothing():
    noise = np.random.default_rng(0).standard_normal((RATE, 2)).astype(np.float32)
    assert np.abs(pitch_shift(noise, 0, RATE) - noise).max() < 1e-5


def test_joins_between_stretches_do_not_click(prompt, stems):
    grid = BeatGrid(BPM, RATE)
    renderer = StemRenderer(prompt.waveform, stems, grid, 16)
    choices = [(UnitChoice(u),) * 3 for u in (0, 1, 9, 4, 5, 6, 7, 8)] + [(UnitChoice(9),) * 3]
    bass = renderer.render(choices, 0, renderer.edge(8))[1][:, 0]
    own = np.abs(np.diff(stems.bass.samples[:, 0])).max()
    assert np.abs(np.diff(bass)).max() < 1.5 * own


def test_drums_that_are_cut_go_on_with_the_prompts_own_samples_from_the_middle(prompt, stems):
    renderer = StemRenderer(prompt.waveform, stems, BeatGrid(BPM, RATE), 16)
    half = lambda h: round(h * renderer.per_unit / 2)  # noqa: E731
    choices = [(UnitChoice(u, second=6 if u == 1 else None), UnitChoice(u), UnitChoice(u)) for u in range(4)]
    drums, bass, _ = renderer.render(choices, 0, renderer.edge(3))
    own = stems.drums.samples
    middle, end = half(3), renderer.edge(2)
    assert np.abs(drums[: middle - renderer.fade] - own[: middle - renderer.fade]).max() == 0
    played = drums[middle : end - renderer.fade]
    assert np.array_equal(played, own[half(6) : half(6) + len(played)])
    assert np.array_equal(drums[end:], own[end : renderer.edge(3)]), "then it goes on as it was"
    assert np.array_equal(bass, stems.bass.samples[: len(bass)])
    onward = [(UnitChoice(0, second=3), UnitChoice(0), UnitChoice(0)), *[(UnitChoice(u),) * 3 for u in (2, 3)]]
    stretch = renderer.render(onward, 0, renderer.edge(2))[0][half(1) : renderer.edge(2)]
    assert np.abs(stretch - own[half(3) : half(3) + len(stretch)]).max() == 0, "half unit 3 runs on into unit 2"


def test_no_drift_over_a_thousand_rounds(prompt, stems):
    renderer = StemRenderer(prompt.waveform, stems, BeatGrid(BPM, RATE), 16)
    choices = [(UnitChoice(u % 16),) * 3 for u in range(16_001)]
    start = renderer.edge(15_984)
    sound = renderer.render(choices, start, start + 5_000)
    assert np.array_equal(sound[0], stems.drums.samples[:5_000])


def test_wishes_out_of_range_are_refused():
    with pytest.raises(RequestError, match=r"variation is 1\.5"):
        GenerationConfig(variation=1.5)
    with pytest.raises(RequestError, match="vocals"):
        GenerationConfig(keep=("vocals",))


def test_a_condition_is_read_from_what_was_played():
    loop = [(UnitChoice(i % 4),) * 3 for i in range(6)]
    assert condition_of(loop, 4, 4) == PlanOptions((0.0,) * 3, (0.0,) * 3)
    moved = [(UnitChoice((i + 1) % 4), UnitChoice(i % 4, 2), UnitChoice(i % 4, silent=i < 3)) for i in range(6)]
    asked = condition_of(moved, 0, 4)
    assert asked.variation == (1.0, 1.0, 0.5) and asked.silence == (0.0, 0.0, 0.5)


@pytest.mark.parametrize("variation", [0.0, 0.3, 0.5, 1.0])
def test_every_phrase_leaves_the_loop_as_much_as_is_asked(variation):
    config = GenerationConfig(variation=variation)
    shares = np.array([config.of_bar(0, bar).variation for bar in range(80)]).reshape(20, 4, 3)
    assert np.allclose(shares.mean(axis=1), variation)
    assert ((shares == 0) | (shares == 1)).sum(axis=1).min() >= 3  # at most one bar in part
    assert config.of_bar(5, 8) == config.of_bar(5, 8)
    if 0.0 < variation < 1.0:
        assert any(len(set(bar)) > 1 for bar in shares.reshape(80, 3).tolist())  # stems go their own ways


def test_a_pointer_is_saved_and_read_back(pointer, tmp_path):
    save_part(tmp_path / "pointer.safetensors", pointer)
    assert load_pointer(tmp_path).config == TINY
    (tmp_path / "pointer.safetensors").write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match="damaged"):
        load_pointer(tmp_path)
    with pytest.raises(ConfigError, match="heads"):
        PointerConfig(n_heads=5)


def test_labels_know_repeats_and_transpositions():
    note = np.dtype([("onset", int), ("duration", int), ("instrument", int), ("pitch", int), ("velocity", int)])
    bass = np.array([(6 * u, 6, 1, p, 100) for u, p in enumerate((40, 45, 40, 47))], note)
    drums = np.array([(6 * u, 1, 0, 128 + u % 2, 100) for u in range(4)], note)
    table, silent = alikeness({"drums": drums, "bass": bass, "other": bass[:0]}, 4, 4)
    assert table[1, 2, 0, 7] == 100 and table[1, 1, 0, 7] == 0
    assert table[1, 1, 0, 7 + 5] == 100 and table[1, 3, 0, 7 + 7] == 100 and table[1, 0, 3, 7 - 7] == 100
    assert table[0, 2, 0, 7] == 100 and table[0, 1, 0].max() == 0
    assert silent[2].all() and not silent[:2].any()


def test_the_command_continues_in_stems_and_says_where_from(tmp_path, capsys):
    source = Path(__file__).parents[1] / "examples" / "techno_132bpm.flac"
    loop = tmp_path / "beat_132bpm.wav"
    grid = BeatGrid(132, 44_100)
    write_waveform(loop, read_waveform(source).slice(0, int(grid.edges(8)[-1])))
    out, stems = tmp_path / "out.wav", tmp_path / "stems"
    words = ["--keep", "drums", "--variation", "1", "--beats", "4", "--stems", str(stems), "--json"]
    assert main(["continue", str(loop), "-o", str(out), *words]) == 0
    facts = json.loads(capsys.readouterr().out)
    sources = facts["takes"][0]["sources"]
    assert [unit["drums"] for unit in sources] == [{"source": i, "semitones": 0} for i in range(8)]
    new = read_waveform(out).samples[read_waveform(loop).n_samples :]
    parts = [read_waveform(file).samples for file in stems.iterdir()]
    assert np.abs(sum(parts) - new).max() < 1e-4  # the result is in 16 bits
