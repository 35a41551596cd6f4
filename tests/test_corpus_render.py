"""What is heard: to the sample in length and onset, the same every time, within full scale."""

from dataclasses import replace

import corpus_report
import numpy as np
import pytest

from melformer.corpus import compose, render, render_stems
from melformer.corpus.mixing import effects as fx
from melformer.corpus.passage import Event, Part, Passage, Sweep, stem_of
from melformer.corpus.synthesis.drums import SYNTHS
from melformer.corpus.synthesis.noises import NOISES
from melformer.corpus.synthesis.patches import SOUNDS, draw_sound
from melformer.corpus.synthesis.player import onset_sample, play
from melformer.corpus.synthesis.samples import first_sample
from melformer.corpus.synthesis.soundfont import font, play_note
from melformer.corpus.synthesis.voices import VOICES, Note
from melformer.corpus.synthesis.wavetable import filter_levels, harmonic_levels, make_tables, scan
from melformer.stems import STEMS

RATE = 44_100
SYNTHESIS = frozenset()


def dry(passage: Passage, name: str) -> Passage:
    """Only one part, without effects, so that silence between its sounds is silence."""
    parts = (replace(p, reverb=0, delay=0, duck=0, effects={}, sweeps=()) for p in passage.parts if p.name == name)
    return replace(passage, parts=tuple(parts), loop=False)


@pytest.mark.parametrize(
    ("style", "n_beats", "rate"), [("house", 8, 44_100), ("waltz", 7, 48_000), ("soul", 3, 22_050)]
)
def test_a_mix_is_exactly_as_long_as_its_beats(style, n_beats, rate):
    passage = replace(compose(2, style, n_beats, kinds=SYNTHESIS), bpm=117.37)
    mix, stems = render_stems(passage, rate)
    n = round(n_beats * 60 / 117.37 * rate)
    assert {w.n_samples for w in (mix, *stems.values())} == {n}
    assert mix.n_channels == 2 and mix.sample_rate == rate
    assert 0.01 < np.abs(mix.samples).max() <= 1.0
    assert set(stems) == set(STEMS)


@pytest.mark.parametrize("seed", [3, 21, 40, 55])  # glue, drive, limiter, echoes; one without bass, one of 6/8
def test_stems_add_up_to_the_finished_mix(seed):
    passage = compose(seed, n_beats=12, kinds=SYNTHESIS)
    mix, stems = render_stems(passage)
    assert np.abs(sum(stem.samples for stem in stems.values()) - mix.samples).max() < 1e-5
    assert np.abs(mix.samples - render(passage).samples).max() < 1e-4
    for name, stem in stems.items():
        assert stem.samples.any() == any(stem_of(part) == name for part in passage.parts)


def test_rendering_twice_gives_the_same_samples():
    passage = compose(21, "electro", 8)
    assert np.array_equal(render(passage).samples, render(passage).samples)


@pytest.mark.parametrize(("style", "seed"), [("techno", 1), ("funk", 4), ("garage", 4), ("lo-fi", 7), ("soul", 4)])
def test_every_kick_begins_on_its_sample(style, seed):
    """Swing and humanising are in the events, so a sound must begin at round(beat · 60 / bpm · rate), nowhere else."""
    passage = dry(compose(seed, style, 16, kinds=SYNTHESIS), "kick")
    sound = play(passage.parts[0], passage.bpm, 20 * RATE, RATE)[0]
    starts = sorted({onset_sample(e, passage.bpm, RATE) for e in passage.parts[0].events})
    assert len(starts) > 3
    quiet = np.abs(sound) < 1e-7
    for start in starts:
        if start > 200 and not quiet[start - 200 : start].all():
            continue  # the one before still rings
        assert quiet[max(0, start - 200) : start].all()
        assert not quiet[start : start + 3].all()


def test_straight_repeats_are_the_same_samples():
    """At 120 BPM a beat is 22,050 samples, so a bar that is played again is equal, not only alike."""
    bar = tuple(Event(beat, 0.5, 40, 0.8) for beat in (0, 1, 2.5))
    again = tuple(replace(e, start_beats=e.start_beats + 4) for e in bar)
    part = Part("bass", "subtractive", {"shape": "saw"}, bar + again)
    sound = play(part, 120.0, 8 * 22_050, RATE)
    half = 4 * 22_050
    assert np.abs(sound[:, :half] - sound[:, half:]).max() < 1e-6


def test_a_loop_rings_into_its_own_start():
    late = Part("bass", "subtractive", {"shape": "saw", "release": 0.5}, (Event(3.5, 0.5, 40, 0.9),))
    passage = replace(compose(1, "house", 4, kinds=SYNTHESIS), parts=(late,), loop=True)
    looped, cut = (render(replace(passage, loop=loop)).samples for loop in (True, False))
    n = RATE // 20
    assert np.abs(looped[:n]).max() > 10 * np.abs(cut[:n]).max()


@pytest.mark.parametrize("name", SOUNDS)
def test_every_voice_sounds_from_its_first_millisecond(name):
    instrument, params = draw_sound(name, np.random.default_rng(1), with_font=False)
    sound = np.atleast_2d(VOICES[instrument](Note(48, RATE // 2, 0.9, RATE), params))
    assert sound.dtype == np.float32 and np.isfinite(sound).all()
    assert 0.05 < np.abs(sound).max() < 4
    assert np.abs(sound[:, : RATE // 500]).max() > 1e-4
    assert np.abs(sound[:, -1]).max() < 1e-3  # ends without a click


@pytest.mark.parametrize("name", SYNTHS)
def test_every_drum_strikes_at_once_and_ends(name):
    hit = SYNTHS[name]({}, 0.9, RATE)
    assert np.isfinite(hit).all() and hit.ndim == 1
    assert np.abs(hit[:200]).max() > 0.02
    assert np.abs(hit[-20:]).max() < 0.05 * np.abs(hit).max()


@pytest.mark.parametrize("name", NOISES)
def test_every_noise_fills_its_time(name):
    sound = NOISES[name](RATE, RATE, {})
    assert sound.shape == (2, RATE) and np.isfinite(sound).all() and np.abs(sound).max() > 0.05


def test_a_saw_does_not_alias():
    """Between the harmonics of 1 kHz there is nothing: whatever is there has folded back.

    60 dB is what straight interpolation in a table costs.
    """
    tables = make_tables(harmonic_levels("saw", 17)[None, :])
    wave = scan(tables, np.arange(RATE) * (1000.0 / RATE))
    level = 20 * np.log10(np.abs(np.fft.rfft(wave * np.hanning(RATE))) + 1e-9)
    between = np.concatenate([level[k * 1000 + 100 : k * 1000 + 900] for k in range(1, 21)])
    assert level[1000] - between.max() > 60


def test_a_filter_in_the_tables_is_a_filter():
    levels = filter_levels(100.0, 100, np.array([1000.0]), 0.0)[0]
    assert levels[0] == pytest.approx(1.0, abs=0.05)
    assert 20 * np.log10(levels[39] / levels[79]) == pytest.approx(24, abs=2)  # an octave above: 24 dB


def test_filters_turn_at_their_cutoff():
    pulse = np.zeros((1, RATE), np.float32)
    pulse[0, 0] = 1
    for kind in ("lowpass", "highpass"):
        response = 20 * np.log10(np.abs(np.fft.rfft(fx.filtered(pulse, kind, 1000.0, RATE)[0])))
        assert response[1000] == pytest.approx(-3.0, abs=0.1)
    shelf = 20 * np.log10(np.abs(np.fft.rfft(fx.filtered(pulse, "highshelf", 2000.0, RATE, 0.7, 6.0)[0])))
    assert shelf[50] == pytest.approx(0, abs=0.1) and shelf[18_000] == pytest.approx(6, abs=0.2)


def test_a_sweep_leaves_the_rest_alone():
    passage = dry(compose(4, "house", 8, kinds=SYNTHESIS), "hats")
    swept = replace(passage, parts=(replace(passage.parts[0], sweeps=(Sweep("lowpass", 2, 4, 300, 600),)),))
    master = {**passage.master, "glue": 0.0, "drive": 0.0, "rms_db": -40.0}  # then the master is linear
    plain, moved = (render_stems(replace(p, master=master))[1]["drums"].samples for p in (passage, swept))
    beat = 60 / passage.bpm * RATE
    before, inside, after = slice(0, int(2 * beat)), slice(int(2 * beat), int(4 * beat)), slice(int(4.5 * beat), None)
    moved = moved * np.vdot(moved[before], plain[before]) / np.vdot(moved[before], moved[before])  # one level for both
    for part in (before, after):
        assert np.abs(moved[part] - plain[part]).max() < 1e-3 * np.abs(plain).max()
    assert np.square(moved[inside]).sum() < 0.1 * np.square(plain[inside]).sum()


def test_echoes_stand_where_they_are_asked_to():
    send = np.zeros(RATE, np.float32)
    send[0] = 1
    wet = fx.echo(send, 10_000, 0.5, RATE)
    assert not wet[:, :10_000].any()
    peaks = np.abs(wet).max(axis=0)
    late = [int(np.argmax(peaks[start : start + 10_000])) for start in (10_000, 20_000, 30_000)]
    assert late[0] == 0 and max(late) <= 3  # each echo is darker, which rounds its peak off


def test_the_limiter_holds_its_ceiling_and_lets_quiet_sounds_be():
    loud = np.random.default_rng(0).standard_normal((2, RATE)).astype(np.float32)
    assert np.abs(loud * fx.limiter_gain(loud, 0.9, RATE)).max() <= 0.9 + 1e-6
    assert (fx.limiter_gain(0.01 * loud, 0.9, RATE) == 1.0).all()


def test_the_compressor_turns_down_only_what_is_loud():
    tone = np.sin(np.arange(RATE) * 0.1).astype(np.float32)[None]
    assert fx.compressor_gain(tone, -20.0, 4.0, RATE)[RATE // 2 :].max() == pytest.approx(10 ** (-15 / 20), rel=0.1)
    assert np.allclose(fx.compressor_gain(0.05 * tone, -20.0, 4.0, RATE), 1.0)


def test_a_recorded_sound_begins_where_it_is_forty_decibels_below_its_attack():
    sound = np.concatenate([np.full(700, 1e-4), np.full(300, 4e-3), np.ones(3_000)]).astype(np.float32)
    assert first_sample(sound, RATE) == 1_000
    assert first_sample(np.stack([sound, 0 * sound]), RATE) == 1_000
    assert first_sample(sound[1_000:], RATE) == 0 and first_sample(0 * sound, RATE) == 0
    assert first_sample(np.linspace(0, 1, 4_410, dtype=np.float32), RATE) == 23  # a slow one begins early


@pytest.mark.skipif(font() is None, reason="no soundfont installed")
def test_recorded_sounds_stand_on_their_sample():
    hits, seen = corpus_report.onsets(8, material=True)
    assert hits == seen > 50


@pytest.mark.skipif(font() is None, reason="no soundfont installed")
def test_a_soundfont_note_does_not_hear_the_one_before():
    first = play_note(60, 8000, 2000, 0.8, RATE, 0, 0)
    play_note(36, 8000, 0, 1.0, RATE, 128, 0)
    assert np.array_equal(first, play_note(60, 8000, 2000, 0.8, RATE, 0, 0))
    assert first.shape == (2, 10_000)
    assert np.abs(first[:, :8]).max() > 0.005 * np.abs(first).max()  # no silence before the attack
