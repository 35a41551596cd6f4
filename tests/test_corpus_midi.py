"""MIDI files as passages: who plays what, where on the grid, in which metre; and files that cannot be used."""

import json
from dataclasses import replace

import mido
import numpy as np
import pytest
from midi_files import band, metre, tempo, write_midi

from melformer.cli import main
from melformer.corpus import build, iterate, render_stems
from melformer.corpus.midi import MidiFolder, read_score
from melformer.corpus.midi.arrange import arrange
from melformer.corpus.midi.score import count_beats
from melformer.corpus.midi.sounds import DRUMS, OTHER_DRUM
from melformer.corpus.notes import passage_notes
from melformer.corpus.passage import stem_of
from melformer.corpus.sound_sources import passage_sources
from melformer.corpus.synthesis.kits import DRUM_SOUNDS
from melformer.errors import MidiError

OWN = {"name": "a friend's songs", "licence": "CC0-1.0"}
NOTHING_ELSE: frozenset[str] = frozenset()


def whole(score, seed=0):
    """The passage of the first seed from `seed` on in which nobody is left out."""
    for i in range(seed, seed + 50):
        passage = arrange(score, i, OWN, NOTHING_ELSE)
        if len(passage.parts) == 5:
            return passage
    raise AssertionError("somebody is always left out")


def test_a_file_becomes_parts_on_an_exact_grid(tmp_path):
    score = read_score(write_midi(tmp_path / "song.mid", band(), [(0, tempo(100))]))
    passage = whole(score)
    assert {(p.name, stem_of(p), p.instrument == "drums") for p in passage.parts} == {
        ("kick", "drums", True), ("hats", "drums", True), ("bass", "bass", False), ("comp", "other", False),
        ("lead", "other", False),
    }  # fmt: skip
    assert passage.metre == "4/4" and passage.n_beats in (32, 64) and 80 <= passage.bpm <= 120
    by_name = {part.name: part.events for part in passage.parts}
    assert [e.start_beats for e in by_name["kick"]] == list(range(passage.n_beats))
    assert [e.start_beats % 1 for e in by_name["hats"]] == [0.5] * passage.n_beats
    steps = np.diff([e.pitch for e in by_name["bass"]])
    assert set(steps) == {1, -3}  # moved to another key as a whole
    comp = by_name["comp"]
    assert [e.pitch - comp[0].pitch for e in comp[:3]] == [0, 4, 7] and comp[0].duration_beats == 1.5
    notes = passage_notes(passage)
    assert len(notes["drums"]) == 2 * passage.n_beats and len(notes["bass"]) == passage.n_beats
    assert set(notes["bass"]["onset"] % 12) == {0}


def test_three_hundred_tempo_changes_leave_the_grid_as_it_is(tmp_path):
    """The tempo that most beats have is the passage's, within a fifth; the notes stay where they are written."""
    marks = [(i / 5, tempo(90 if i % 3 else 200)) for i in range(300)]
    passage = whole(read_score(write_midi(tmp_path / "song.mid", band(), marks)))
    assert 72 <= passage.bpm <= 108
    kick = next(part for part in passage.parts if part.name == "kick")
    assert [e.start_beats for e in kick.events] == list(range(passage.n_beats))


@pytest.mark.parametrize(
    ("above", "below", "counted"),
    [(4, 4, (4, 1.0)), (3, 4, (3, 1.0)), (7, 8, (7, 0.5)), (6, 8, (2, 1.5)), (12, 8, (4, 1.5)), (3, 8, (3, 0.5)),
     (2, 2, (4, 1.0)), (5, 4, (5, 1.0)), (8, 8, (4, 1.0)), (7, 16, None), (4, 64, None), (0, 4, None), (255, 2, None)],
)  # fmt: skip
def test_beats_of_a_time_signature(above, below, counted):
    assert count_beats(above, below) == counted


@pytest.mark.parametrize(("above", "below", "beat"), [(3, 4, 1.0), (7, 8, 0.5), (6, 8, 1.5)])
def test_a_metre_counts_its_own_beats(above, below, beat, tmp_path):
    """The kick of every quarter note stands where the metre's beats put it, and bars are whole."""
    path = write_midi(tmp_path / "song.mid", band(84), [(0, tempo(80)), (0, metre(above, below))])
    passage = whole(read_score(path))
    assert passage.metre == f"{above}/{below}" and passage.n_beats % passage.beats_per_bar == 0
    kick = next(part for part in passage.parts if part.name == "kick")
    steps = np.diff([e.start_beats for e in kick.events])
    assert steps == pytest.approx(np.full(len(steps), 1 / beat), abs=1e-5)
    assert 80 * 0.8 / beat - 1 <= passage.bpm <= 80 * 1.2 / beat + 1


def test_a_passage_stays_in_one_metre(tmp_path):
    marks = [(0, metre(4, 4)), (32, metre(3, 4)), (62, metre(4, 4))]
    score = read_score(write_midi(tmp_path / "song.mid", band(94), marks))
    assert [(s.metre, s.start, s.stop) for s in score.stretches] == [("4/4", 0, 32), ("3/4", 32, 62), ("4/4", 62, 94)]
    seen = {arrange(score, seed, OWN, NOTHING_ELSE).metre for seed in range(12)}
    assert seen == {"4/4", "3/4"}


def test_a_seed_decides_and_seeds_differ(tmp_path):
    score = read_score(write_midi(tmp_path / "song.mid", band(160), [(0, tempo(100))]))
    assert arrange(score, 5, OWN, NOTHING_ELSE) == arrange(score, 5, OWN, NOTHING_ELSE)
    drawn = [arrange(score, seed, OWN, NOTHING_ELSE) for seed in range(30)]
    assert len({p.bpm for p in drawn}) > 25 and len({p.n_beats for p in drawn}) >= 3
    assert len({len(p.parts) for p in drawn}) >= 3 and all(p.parts for p in drawn)
    assert len({part.instrument for p in drawn for part in p.parts}) >= 4


def test_the_engine_renders_and_names_whose_music_it_is(tmp_path):
    passage = replace(whole(read_score(write_midi(tmp_path / "song.mid", band(32)))), bpm=200.0)
    mix, stems = render_stems(passage, 22_050)
    assert mix.n_samples == round(passage.n_beats * 60 / 200 * 22_050)
    assert np.abs(sum(s.samples for s in stems.values()) - mix.samples).max() < 1e-4
    assert all(np.abs(stem.samples).max() > 0.01 for stem in stems.values())
    assert OWN in passage_sources(passage)


def test_every_drum_key_is_a_drum_of_the_engine():
    assert set(DRUMS.values()) | {OTHER_DRUM} <= set(DRUM_SOUNDS)
    assert {DRUMS[key] for key in (35, 38, 42, 46, 49, 51)} == {"kick", "snare", "hat", "open", "crash", "ride"}


def test_notes_that_never_end_or_overlap_are_kept(tmp_path):
    """Two strokes of a pitch before either ends, and one that is never let go."""
    on, off = (mido.Message(kind, channel=0, note=60, velocity=80) for kind in ("note_on", "note_off"))
    midi = mido.MidiFile(ticks_per_beat=96)
    midi.tracks.append(
        mido.MidiTrack([on.copy(time=0), on.copy(time=48), off.copy(time=48), off.copy(time=96), on.copy(time=0)])
    )
    midi.save(tmp_path / "song.mid")
    (player,) = read_score(tmp_path / "song.mid").players
    assert [(n.start, n.length) for n in player.notes] == [(0.0, 1.0), (0.5, 1.5), (2.0, 1.0)]


def hour(path):
    return write_midi(path, {(0, 0): [(0.0, 1.0, 60, 80), (7200.0, 1.0, 60, 80)]}, [(0, tempo(120))])


def damaged(path):
    data = write_midi(path, band()).read_bytes()
    path.write_bytes(data[: len(data) // 2])


def smpte(path):
    data = bytearray(write_midi(path, band()).read_bytes())
    data[12:14] = (0xE7, 0x28)  # 25 frames of 40 ticks
    path.write_bytes(data)


UNUSABLE = {
    "damaged": (damaged, "no MIDI file, or a damaged one"),
    "no MIDI": (lambda p: p.write_bytes(b"RIFF????WAVE"), "no MIDI file, or a damaged one"),
    "empty": (lambda p: p.write_bytes(b""), "no MIDI file, or a damaged one"),
    "no notes": (lambda p: write_midi(p, {}, [(0, tempo(90))]), "has no notes"),
    "an hour": (hour, "lasts 60 minutes; the limit is 30"),
    "format 2": (lambda p: write_midi(p, band(), kind=2), "format 2"),
    "SMPTE": (smpte, "SMPTE frames"),
    "huge": (lambda p: p.write_bytes(b"MThd" + bytes(5_000_000)), "5,000,004 bytes"),
    "short": (lambda p: write_midi(p, {(0, 0): [(0.0, 1.0, 60, 80)]}), "no 8 beats of music"),
    "odd metre": (lambda p: write_midi(p, band(), [(0, metre(7, 16))]), "no 8 beats of music"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_used_is_named_and_leaves_nothing_behind(name, tmp_path, capsys):
    make, said = UNUSABLE[name]
    path = tmp_path / "midi" / "odd.mid"
    path.parent.mkdir()
    make(path)
    out = tmp_path / "corpus"
    assert main(["corpus", "build", str(out), "--hours", "0.01", "--midi", str(path.parent)]) == 2
    error = capsys.readouterr().err
    assert said in error and "odd" in error and error.count("\n") == 1
    assert not out.exists()


def test_a_file_that_cannot_be_used_is_left_out_and_named_once(tmp_path, capsys):
    write_midi(tmp_path / "good.mid", band())
    write_midi(tmp_path / "deep" / "other.MID", band())
    (tmp_path / "bad.mid").write_bytes(b"nothing")
    folder = MidiFolder(tmp_path, 1)
    names = [folder.passage(i, i, NOTHING_ELSE).style for i in range(9)]
    assert set(names) == {"midi good", "midi other"}
    assert capsys.readouterr().err.count("bad.mid") == 1


@pytest.mark.parametrize(
    ("facts", "good"),
    [('{"name": "x", "licence": "CC0"}', True), ("[]", False), ("{", False), ('{"name": 5, "licence": ""}', False)],
)
def test_a_source_must_name_itself_and_its_licence(facts, good, tmp_path):
    write_midi(tmp_path / "good.mid", band())
    (tmp_path / "source.json").write_text(facts)
    if good:
        assert MidiFolder(tmp_path, 1).passage(0, 0, NOTHING_ELSE).source == {"name": "x", "licence": "CC0"}
    else:
        with pytest.raises(MidiError, match=r"source\.json"):
            MidiFolder(tmp_path, 1)


@pytest.mark.parametrize("path", ["gone", "."])
def test_a_folder_without_midi_is_named(path, tmp_path):
    with pytest.raises(MidiError, match="MIDI file"):
        next(iterate(1, midi=tmp_path / path))


def test_a_corpus_of_midi_says_so_in_its_index(tmp_path, monkeypatch):
    monkeypatch.setattr("melformer.corpus.sound_sources.found", lambda: NOTHING_ELSE)
    write_midi(tmp_path / "midi" / "my song.mid", band(32), [(0, tempo(200))])
    assert build(tmp_path / "out", 0.001, 3, midi=tmp_path / "midi", sample_rate=22_050) == 1
    (line,) = map(json.loads, (tmp_path / "out" / "index.jsonl").read_text().splitlines())
    assert line["file"].startswith("midi_my_song_") and (tmp_path / "out" / line["file"]).is_file()
    assert {s["licence"] for s in line["sources"]} == {"CC0-1.0", "not stated"}
