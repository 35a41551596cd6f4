"""What is written on paper: in every style and metre, whole, within its bounds, and never twice the same."""

import json
import sys
from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest

from melformer.corpus import STYLES, compose
from melformer.corpus.build import allowed_styles, nth_passage
from melformer.corpus.composition import melody
from melformer.corpus.composition.compose import wandering
from melformer.corpus.composition.drumming import COMMON_FILLS
from melformer.corpus.composition.form import _statements
from melformer.corpus.composition.frame import METRES, Span, draw_frame, lead_on
from melformer.corpus.composition.melody import Tone
from melformer.corpus.passage import Event
from melformer.corpus.styles.table import HELD_OUT
from melformer.corpus.synthesis.kits import _BASE, _FAMILIES
from melformer.corpus.synthesis.patches import FONT_SOUNDS, SOUNDS
from melformer.corpus.theory.harmony import SCALES, Chord, parse_chord, scale_pitch, voice
from melformer.corpus.theory.patterns import clean, fit_metre, read_steps, swing
from melformer.errors import RequestError

ALL = STYLES | HELD_OUT
SYNTHESIS = frozenset()  # what is installed must not matter here


def test_few_play_where_few_are_asked_for():
    players = [{part.name for part in compose(seed, few=True, kinds=SYNTHESIS).parts} - {"fx"} for seed in range(40)]
    assert {len(names) for names in players} == {1, 2, 3}
    everybody = [compose(seed, kinds=SYNTHESIS).parts for seed in range(40)]
    assert np.mean([len(parts) for parts in everybody]) > 4


def test_there_are_enough_styles_and_metres():
    assert len(STYLES) >= 16
    assert set(METRES) == {"4/4", "3/4", "6/8", "5/4", "7/8"}
    assert {metre for style in STYLES.values() for metre in style.metres} == set(METRES)


@pytest.mark.parametrize("style", ALL.values(), ids=lambda style: style.name)
def test_a_style_names_only_what_exists(style):
    assert 40 <= style.bpm[0] < style.bpm[1] <= 240
    assert set(style.modes) <= set(SCALES)
    assert set(style.kits) <= set(_FAMILIES)
    for progression in style.progressions:
        assert all(parse_chord(numeral, 0) for numeral in progression.split())
    sounds = (style.bass_sounds, style.comp_sounds, style.lead_sounds, style.arp_sounds, style.pad_sounds)
    assert {name for group in sounds for name in group} <= set(SOUNDS) | set(FONT_SOUNDS)
    for bars in (*style.drums.items(), *((d, (bar,)) for fill in style.fills for d, bar in fill.items())):
        assert bars[0] in _BASE
        assert all(len(clean(bar)) in (0, 12, 16) and set(clean(bar)) <= set("Xxogrt.") for bar in bars[1])
    assert all(len(clean(bar)) in (12, 16) and set(clean(bar)) <= set("RrL85376ab-.") for bar in style.bass)
    assert all(len(clean(bar)) in (12, 16) and set(clean(bar)) <= set("Xxo-.") for bar in style.comp)


@pytest.mark.parametrize("style", ALL)
def test_a_passage_keeps_its_word(style):
    for seed in (3, 4):
        passage = compose(seed, style, kinds=SYNTHESIS)
        events = [event for part in passage.parts for event in part.events]
        assert passage.parts
        assert all(0 <= e.start_beats < passage.n_beats for e in events)
        assert all(e.start_beats + e.duration_beats <= passage.n_beats + 1e-3 for e in events)
        assert all(0 < e.velocity <= 1 and 12 <= e.pitch <= 127 for e in events)
        assert len(passage.chords) == passage.n_bars and all(passage.chords)
        assert sum(section.n_bars for section in passage.form) == passage.n_bars
        assert passage.beats_per_bar == METRES[passage.metre] and passage.metre in ALL[style].metres
        assert json.loads(json.dumps(passage.to_json()))["style"] == style


def test_a_style_that_is_held_out_is_composed_only_by_name():
    assert HELD_OUT and not HELD_OUT.keys() & STYLES.keys()
    assert set(allowed_styles(None)) == set(STYLES)
    assert allowed_styles(list(HELD_OUT)) == tuple(HELD_OUT)
    drawn = {compose(seed, n_beats=4, kinds=SYNTHESIS).style for seed in range(60)}
    assert drawn <= STYLES.keys() and len(drawn) > 20


@pytest.mark.parametrize("n_beats", [1, 7, 16, 128])
def test_any_number_of_beats_can_be_asked_for(n_beats):
    assert compose(5, "funk", n_beats, kinds=SYNTHESIS).n_beats == n_beats


def test_the_same_seed_is_the_same_music_and_another_is_not():
    assert compose(11, "house") == compose(11, "house")
    assert compose(11, "house").fingerprint() != compose(12, "house").fingerprint()


def test_no_two_loops_share_a_fingerprint():
    names = allowed_styles(None)
    prints = [nth_passage(1, i, names, 0.0).fingerprint() for i in range(120)]
    assert len(set(prints)) == len(prints)


def test_a_fingerprint_hears_one_moved_note():
    passage = compose(11, "house")
    part, *others = passage.parts
    first, *rest = part.events
    moved = replace(part, events=(replace(first, start_beats=first.start_beats + 0.25), *rest))
    assert replace(passage, parts=(moved, *others)).fingerprint() != passage.fingerprint()


def test_long_passages_repeat_exactly_and_also_change():
    """Some bars return note for note, and few passages are one bar over and over."""
    exact = changing = 0
    for seed in range(20):
        passage = compose(seed, "techno", 64, kinds=SYNTHESIS)
        bars = [set() for _ in range(16)]
        for part in passage.parts:
            for e in part.events:
                bars[int(e.start_beats // 4)].add((part.name, e.sound, e.pitch, round(e.start_beats % 4, 3)))
        different = len({frozenset(bar) for bar in bars})
        exact += different < 16
        changing += different > 2
    assert exact >= 12  # a fifth is restless and an eighth of the rest keeps no time: 14 are expected
    assert changing >= 10


def test_songs_have_sections_that_come_back():
    """From 48 beats on, most passages state a section for 16 beats or more, leave it, and come back to it."""
    returning = 0
    for seed in range(16):
        passage = compose(seed, "rock", 128, kinds=SYNTHESIS)
        letters = [section.label[0] for section in passage.form for _ in range(section.n_bars)]
        runs = [(letter, len(list(bars))) for letter, bars in groupby(letters)]
        names = [letter for letter, _ in runs]
        returning += len(set(names)) < len(names) and min(n_bars for _, n_bars in runs[:-1]) >= 4
    assert returning >= 8


def test_a_section_states_its_phrase_and_ends_otherwise_when_it_comes_again():
    assert _statements("A", 1, "last", False) == ["A"] and _statements("A", 1, "last", True) == ["A'"]
    assert _statements("B", 3, "last", False) == ["B", "B", "B'"] and _statements("B", 3, "last", True) == ["B"] * 3
    assert _statements("B", 4, "every second", False) == ["B", "B'", "B", "B'"]
    assert _statements("C", 2, "tune", False) == ["C", 'C"'] and _statements("C", 2, "same", True) == ["C", "C'"]


def test_players_stop_where_a_section_ends(monkeypatch):
    """With every section broken down at its end, fewer strokes fall there, and none elsewhere is lost."""
    strokes, module = {}, sys.modules["melformer.corpus.composition.compose"]
    monkeypatch.setattr(module, "FREE_SHARE", 0.0)
    for share in (0.0, 1.0):
        monkeypatch.setattr(module, "BREAK_SHARE", share)
        passages = [compose(seed, "techno", 64, kinds=SYNTHESIS) for seed in range(6)]
        strokes[share] = {(i, part.name, e) for i, p in enumerate(passages) for part in p.parts for e in part.events}
    lost = strokes[0.0] - strokes[1.0]
    ends = {(i, s.start_bar * 4) for i, p in enumerate(passages) for s in p.form[1:]}
    assert lost and strokes[1.0] <= strokes[0.0]
    assert all(any(i == j and 0 < border - e.written_beats <= 4 for j, border in ends) for i, _, e in lost)


def test_what_cannot_be_composed_is_refused():
    with pytest.raises(RequestError, match="choose from"):
        compose(1, "polka")
    with pytest.raises(RequestError, match="out of range"):
        compose(-1)
    with pytest.raises(RequestError, match="out of range"):
        compose(1, n_beats=0)


def test_chords_are_read_from_their_numerals():
    assert parse_chord("iim7", 0) == Chord(2, "m7")
    assert parse_chord("v7", 2) == Chord(9, "m7")
    assert parse_chord("bVImaj7", 9).name == "Fmaj7"
    assert parse_chord("i5", 4) == Chord(4, "5")
    with pytest.raises(ValueError, match="quality"):
        parse_chord("Iwrong", 0)


def test_voices_move_little_from_chord_to_chord():
    """Root-position triads would leap 12 semitones and more in all; led voices move by steps."""
    previous = voice(parse_chord("I", 0), None, 60, 3)
    for numeral in ("vi", "IV", "V", "I"):
        chord = parse_chord(numeral, 0)
        led = voice(chord, previous, 60, 3)
        assert {note % 12 for note in led} == {(chord.root + i) % 12 for i in chord.intervals}
        assert sum(abs(a - b) for a, b in zip(led, previous, strict=True)) <= 8
        previous = led


def test_scale_steps_wrap_into_octaves():
    assert [scale_pitch(d, 0, SCALES["major"]) for d in (-1, 0, 2, 7)] == [59, 60, 64, 72]


def test_bars_fit_other_metres():
    bar = "X...x...X..xx..."
    assert [len(fit_metre(bar, metre)) for metre in ("4/4", "3/4", "5/4", "7/8", "6/8")] == [16, 12, 20, 14, 6]
    assert fit_metre("x..x....x.......", "6/8") == "x.x..."
    assert [step.start_beats for step in read_steps("x...X.g.", 4)] == [0, 2, 3]
    assert read_steps("R--.8---", 4)[1].duration_beats == 2


@pytest.mark.parametrize(("amount", "second"), [(0.0, 0.25), (1.0, 1 / 3), (0.5, 0.25 + 1 / 24)])
def test_swing_delays_every_second_sixteenth(amount, second):
    assert swing(0.25, amount, 0.25) == pytest.approx(second, abs=1e-6)
    assert swing(1.5, amount, 0.25) == pytest.approx(1.5, abs=1e-6)


@pytest.mark.parametrize("how", ["invert", "thin", *melody._RESHAPED])
def test_a_motif_that_is_developed_keeps_something_and_changes_something(how):
    motif = [Tone(0.0, 1.0, 0), Tone(1.0, 0.5, 2), Tone(1.5, 0.5, 3), Tone(2.0, 1.0, 1)]
    changed = [melody._vary(motif, how, np.random.default_rng(seed)) for seed in range(8)]
    assert any(tones != motif for tones in changed)
    for tones in changed:
        assert tones and all(tone.start_beats >= 0 and tone.duration_beats > 0 for tone in tones)
        assert all(a.start_beats <= b.start_beats for a, b in zip(tones, tones[1:], strict=False))
        assert {tone.degree for tone in tones} & {tone.degree for tone in motif}


def test_a_cadence_ends_on_the_tonic_and_holds_it():
    motif = [Tone(0.0, 1.0, 6), Tone(1.0, 1.0, 8)]
    last = melody._vary(motif, "cadence", np.random.default_rng(0))[-1]
    assert last.degree == 7 and last.duration_beats == 1.5


def test_chords_lead_on_without_moving_a_border():
    frame = draw_frame(STYLES["soul"], 32, 0.0, np.random.default_rng(2))
    spans = [Span(0.0, 4.0, Chord(0, "m7")), Span(4.0, 8.0, Chord(5, "m7"))]
    led = [lead_on(spans, frame, np.random.default_rng(seed)) for seed in range(20)]
    assert all([s.start_beats for s in more] in ([0.0, 4.0, 6.0], [0.0, 2.0, 4.0, 6.0]) for more in led)
    assert {more[-1].chord for more in led} >= {Chord(7, "7"), Chord(11, "dim7"), Chord(5, "sus4")}  # back to chord 0


def test_common_fills_are_bars_of_sixteen_steps_on_drums_that_exist():
    for fill in COMMON_FILLS:
        assert set(fill) <= set(_BASE)
        assert all(len(bar) == 16 and set(bar) <= set("Xxogrt.") for bar in fill.values())


def test_restless_passages_repeat_less_and_dynamics_move_the_level():
    passages = [compose(seed, "folk dance", 64, kinds=SYNTHESIS) for seed in range(24)]
    onward = [p for p in passages if {"D", "E"} & {section.label for section in p.form}]
    assert 1 <= len(onward) <= 12
    spans = [np.ptp([np.mean([e.velocity for e in part]) for part in quarters(p)]) for p in passages]
    assert sum(span > 0.15 for span in spans) >= 2 and sum(span < 0.05 for span in spans) >= 6


def test_long_passages_that_wander_have_no_drums_and_loops_never_wander(monkeypatch):
    found = {}
    for share in (0.0, 1.0):
        monkeypatch.setattr(sys.modules["melformer.corpus.composition.compose"], "FREE_SHARE", share)
        long = [compose(seed, "rock", 64, kinds=SYNTHESIS) for seed in range(6)]
        drummed = [bool({"kick", "snare", "hats"} & {part.name for part in passage.parts}) for passage in long]
        found[share] = drummed, compose(1, "rock", 16, kinds=SYNTHESIS).fingerprint()
    assert any(found[0.0][0]) and not any(found[1.0][0])
    assert found[0.0][1] == found[1.0][1]


def test_wandering_keeps_chords_together_and_rests():
    chords = [Event(float(beat), 0.5, pitch, 0.8) for beat in range(64) for pitch in (60, 64, 67)]
    wandered = wandering(chords, np.random.default_rng(0))
    assert wandered == wandering(chords, np.random.default_rng(0))
    strokes = {}
    for event in wandered:
        strokes.setdefault((event.start_beats, event.velocity), set()).add(event.pitch)
    assert all(pitches == {60, 64, 67} for pitches in strokes.values())
    assert 20 < len(strokes) < 60  # some of the 64 are rests
    assert all(e.start_beats >= 0.0 and 0.5 <= e.duration_beats <= 1.5 and e.velocity <= 0.8 for e in wandered)


def quarters(passage):
    """The events of each quarter of a passage in which anything plays."""
    events = [e for part in passage.parts for e in part.events]
    parts = [[e for e in events if int(4 * e.start_beats // passage.n_beats) == i] for i in range(4)]
    return [part for part in parts if part]


def test_a_metre_can_be_asked_for() -> None:
    passage = compose(7, "house", metre="7/8", long=0.0)
    assert (passage.metre, passage.beats_per_bar) == ("7/8", 7) and passage.n_beats % 7 == 0
    assert compose(7, "house", long=0.0) == compose(7, "house", long=0.0, metre="4/4")
    with pytest.raises(RequestError, match="unknown metre '9/8'"):
        compose(7, metre="9/8")
