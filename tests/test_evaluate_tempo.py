"""The report on tempi: what counts as right, as an octave and as the first beat."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tempo_report
from page_double import loop_samples
from tempo_report import (
    Piece,
    Verdict,
    calibration,
    composed,
    cut_anywhere,
    in_silence,
    judge,
    main,
    shares,
    whole_bars,
)

from melformer.audio.io import write_waveform
from melformer.audio.tempo import Tempo
from melformer.audio.waveform import Waveform
from melformer.evaluate.sets import EvaluationClip

FOUND = Tempo(120.0, "detected", 0.8, 0.5, 0.9, None, (), "3/4", 3, 0.7, 2, 0.6)


@pytest.mark.parametrize(
    ("says", "beat_s", "kind", "on_beat"),
    [(120.0, 0.0, "right", True), (120.0, 3.5, "right", True), (120.0, 0.2, "right", False),
     (60.0, 0.0, "octave", True), (240.0, 0.0, "octave", True),
     (90.0, 0.0, "wrong", None), (121.0, 0.0, "wrong", None)],
)  # fmt: skip
def test_what_is_found_is_judged_by_the_truth(
    monkeypatch: pytest.MonkeyPatch, says: float, beat_s: float, kind: str, on_beat: bool | None
) -> None:
    monkeypatch.setattr(tempo_report, "find_tempo", lambda waveform: FOUND)
    verdict = judge(Piece(loop_samples(4, 120.0), says, beat_s))
    assert (verdict.kind, verdict.on_beat, verdict.confidence) == (kind, on_beat, 0.8)
    either = judge(Piece(loop_samples(4, 120.0), says, beat_s, either_octave=True))
    assert (either.kind == "right") == (kind != "wrong")


@pytest.mark.parametrize(
    ("says", "metre", "bar", "beat_s", "verdict"),
    [(120.0, "3/4", 3, 0.0, (True, True)), (120.0, "3/4", 3, 0.5, (True, False)), (120.0, "4/4", 4, 1.5, (False, True)),
     (120.0, "", 1, 0.0, (None, None)), (60.0, "3/4", 3, 0.0, (None, None)), (90.0, "3/4", 3, 0.0, (None, None))],
)  # fmt: skip
def test_metre_and_bars_are_judged_where_the_tempo_is_right(
    monkeypatch: pytest.MonkeyPatch, says: float, metre: str, bar: int, beat_s: float, verdict: tuple
) -> None:
    monkeypatch.setattr(tempo_report, "find_tempo", lambda waveform: FOUND)
    found = judge(Piece(loop_samples(4, 120.0), says, beat_s, metre=metre, beats_per_bar=bar))
    assert (found.metre, found.downbeat) == verdict and found.sure == (0.9, 0.7, 0.6)


def test_a_cut_piece_knows_where_its_beats_are() -> None:
    rate, bpm = 8_000, 120.0
    samples = np.zeros((4 * rate // 2, 1), np.float32)
    samples[:: rate // 2] = 1.0
    clip = EvaluationClip("clicks", Waveform(samples, rate), bpm, 4)
    rng = np.random.default_rng(0)
    for _ in range(20):
        piece = cut_anywhere(clip, rng)
        assert 4.0 <= piece.waveform.duration_s <= 12.0
        assert np.argmax(piece.waveform.samples[:, 0] > 0) / rate == pytest.approx(piece.beat_s, abs=1e-4)
    bars = [cut_anywhere(clip, rng, "3/4", 3) for _ in range(20)]
    assert {bar.metre for bar in bars} == {"3/4"} and 0.5 < max(bar.beat_s for bar in bars) < 1.5


def test_silence_moves_the_beat() -> None:
    clip = EvaluationClip("x", loop_samples(4, 120.0), 120.0, 4)
    piece = in_silence(clip, 0.25, 1.0)
    assert piece.beat_s == 0.25 and piece.waveform.duration_s == pytest.approx(clip.waveform.duration_s + 1.25)


def test_passages_are_cut_at_bar_lines() -> None:
    rng = np.random.default_rng(0)
    for clip, metre, beats_per_bar in composed(3, seed=5):
        piece = whole_bars(clip, rng, metre, beats_per_bar)
        assert piece.metre == metre and piece.beat_s == 0.0
        n_beats = piece.waveform.duration_s * clip.bpm / 60.0
        assert n_beats == pytest.approx(beats_per_bar * round(n_beats / beats_per_bar), abs=1e-3)


def test_shares_and_calibration() -> None:
    good, octave, bad = (
        Verdict("right", True, 0.9),
        Verdict("octave", True, 0.95),
        Verdict("wrong", None, 0.1),
    )
    found = shares([good, good, octave, bad])
    assert (found["right"], found["octave"], found["wrong"]) == (0.5, 0.25, 0.25)
    assert found["first_beat"] == 1.0 and shares([bad])["first_beat"] is None and found["metre"] is None
    waltz = replace(good, metre=True, downbeat=False, sure=(1.0, 0.75, 0.25))
    assert (shares([waltz, bad])["metre"], shares([waltz, bad])["downbeat"]) == (1.0, 0.0)
    others = calibration([waltz] * 10 + [bad])["expected_errors_of_others"]
    assert others == {"first_beat": 0.0, "metre": 0.25, "downbeat": 0.25}
    assert calibration([bad])["expected_errors_of_others"]["first_beat"] is None
    trust = calibration([good] * 90 + [replace(good, kind="wrong")] * 10)
    assert trust["sure_and_wrong"] == trust["sure_and_not_right"] == 0.1
    assert calibration([replace(good, confidence=1.0)] * 5)["expected_error"] == 0.0
    assert calibration([replace(bad, confidence=1.0)] * 5)["expected_error"] == 1.0


def test_a_folder_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nowhere"]) == 2
    assert "nowhere is no folder" in capsys.readouterr().err


def test_nothing_composed_gives_no_empty_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_waveform(tmp_path / "clicks_120bpm.wav", loop_samples(8, 120.0))
    out = tmp_path / "tempo.json"
    assert main([str(tmp_path), "--passages", "0", "--cuts", "1", "--paddings", "1", "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "recorded loops, whole" in printed and "composed" not in printed and "nan" not in printed
    assert json.loads(out.read_text(encoding="utf-8"))["sets"]["recorded loops, whole"]["n"] == 1


def test_pieces_are_named_by_their_set(tmp_path: Path) -> None:
    write_waveform(tmp_path / "clicks_120bpm.wav", loop_samples(8, 120.0))
    args = argparse.Namespace(loops=tmp_path, songs=tmp_path, passages=1, cuts=2, more_cuts=1, paddings=1, seed=1)
    assert [name for name, _ in tempo_report.pieces(args)] == [
        "recorded loops, whole", "recorded loops in silence", *2 * ["recorded loops, played round and cut anywhere"],
        "composed passages, 1 to 8 whole bars", "composed passages, played round and cut anywhere",
        "more cuts of composed passages", "passages in styles that nothing was fitted on, 1 to 8 whole bars",
        "the same, played round and cut anywhere", "songs, their first 24 beats",
    ]  # fmt: skip
