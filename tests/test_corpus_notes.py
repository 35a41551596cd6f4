"""Notes by stem at 12 ticks a beat: what a label may call the same, moved or transposed."""

from dataclasses import replace

import numpy as np
import pytest

from melformer.corpus import compose
from melformer.corpus.notes import NOTE, SOUND_NAMES, TICKS_PER_BEAT, UNPITCHED, passage_notes, ticks
from melformer.corpus.passage import Event, Part
from melformer.stems import STEMS


def passage_of(*parts: Part, n_beats: int = 8):
    return replace(compose(1, "house", n_beats, kinds=frozenset()), parts=parts)


def test_each_stem_gets_its_own_notes():
    kick = Part("kick", "drums", {}, (Event(2.0, 0.25, 60, 1.0, "kick"), Event(0.0, 0.25, 60, 0.5, "kick")))
    bass = Part("bass", "subtractive", {}, (Event(1.5, 0.75, 40, 0.8),))
    lead = Part("lead", "pluck", {}, (Event(1 / 3, 0.01, 72, 0.001),))
    notes = passage_notes(passage_of(kick, bass, lead))
    number = UNPITCHED + SOUND_NAMES.index("kick")
    assert tuple(notes) == STEMS and all(stem.dtype == NOTE for stem in notes.values())
    assert notes["drums"].tolist() == [(0, 1, 0, number, 64), (24, 1, 0, number, 127)]
    assert notes["bass"].tolist() == [(18, 9, 1, 40, 102)]
    assert notes["other"].tolist() == [(4, 1, 2, 72, 1)]
    assert len(passage_notes(passage_of(kick))["bass"]) == 0


@pytest.mark.parametrize("style", ["boom bap", "jazz swing", "samba", "trap", "waltz"])
def test_swing_and_a_hand_leave_what_is_written(style):
    """Written starts stand on the grid, or on the half ticks of rolls; a bar and its repeat are equal in notes."""
    for seed in range(4):
        passage = compose(seed, style, 32, kinds=frozenset())
        events = [e for part in passage.parts for e in part.events if part.instrument == "drums"]
        halves = np.array([e.written_beats for e in events]) * 2 * TICKS_PER_BEAT
        assert np.abs(halves - np.round(halves)).max(initial=0.0) < 1e-3
        notes = passage_notes(passage)
        n_events = sum(e.sound != "record" for part in passage.parts for e in part.events)
        assert sum(len(stem) for stem in notes.values()) == n_events
        onsets = np.concatenate([stem["onset"] for stem in notes.values()])
        assert onsets.min() >= 0 and onsets.max() < 32 * TICKS_PER_BEAT


def test_halves_of_ticks_round_alike_in_every_beat():
    for half in (0.125, 0.375, 0.625, 0.875):  # strokes of a roll
        assert len({ticks(beat + half) - 12 * beat for beat in range(200)}) == 1
    assert [ticks(1 / 3), ticks(0.333333), ticks(0.25), ticks(0.0)] == [4, 4, 3, 0]


def test_the_crackle_of_a_record_is_no_note_and_a_riser_is():
    fx = Part("fx", "noises", {}, (Event(0.0, 8.0, 60, 0.1, "record"), Event(4.0, 4.0, 60, 0.6, "riser")))
    assert passage_notes(passage_of(fx))["other"].tolist() == [(48, 48, 0, UNPITCHED + SOUND_NAMES.index("riser"), 76)]
