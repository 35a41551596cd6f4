"""The report on tempi: what counts as right, as an octave and as the first beat."""

from pathlib import Path

import numpy as np
import pytest
from page_double import loop_samples
from tempo_report import Piece, composed, cut_anywhere, judge, main, whole_bars

from melformer.audio.io import write_waveform
from melformer.audio.waveform import Waveform
from melformer.evaluate.sets import EvaluationClip


@pytest.mark.parametrize(
    ("says", "beat_s", "kind", "on_beat"),
    [(120.0, 0.0, "right", True), (120.0, 3.5, "right", True), (120.0, 0.2, "right", False),
     (60.0, 0.0, "octave", True), (240.0, 0.0, "octave", True),
     (90.0, 0.0, "wrong", None), (121.0, 0.0, "wrong", None)],
)  # fmt: skip
def test_what_is_heard_is_judged_by_the_truth(says: float, beat_s: float, kind: str, on_beat: bool | None) -> None:
    verdict = judge(Piece(loop_samples(16, 120.0), says, beat_s))  # it is heard as 120, from its first sample
    assert (verdict.kind, verdict.on_beat) == (kind, on_beat)
    assert 0.0 < verdict.confidence <= 1.0


def test_a_cut_piece_knows_where_its_beats_are() -> None:
    rate, bpm = 8_000, 120.0
    samples = np.zeros((4 * rate // 2, 1), np.float32)
    samples[:: rate // 2] = 1.0
    clip = EvaluationClip("clicks", Waveform(samples, rate), bpm, 4)
    rng = np.random.default_rng(0)
    for _ in range(20):
        piece = cut_anywhere(clip, rng)
        assert 4.0 <= piece.waveform.duration_s <= 12.0
        assert np.argmax(piece.waveform.samples[:, 0]) / rate == pytest.approx(piece.beat_s, abs=1e-4)


def test_passages_are_cut_at_bar_lines() -> None:
    rng = np.random.default_rng(0)
    for clip, beats_per_bar in composed(3, seed=5):
        n_beats = whole_bars(clip, beats_per_bar, rng).waveform.duration_s * clip.bpm / 60.0
        assert n_beats == pytest.approx(beats_per_bar * round(n_beats / beats_per_bar), abs=1e-3)


def test_a_folder_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nowhere"]) == 2
    assert "nowhere is no folder" in capsys.readouterr().err


def test_nothing_composed_gives_no_empty_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_waveform(tmp_path / "clicks_120bpm.wav", loop_samples(8, 120.0))
    assert main([str(tmp_path), "--passages", "0"]) == 0
    printed = capsys.readouterr().out
    assert "recorded loops, whole" in printed and "composed" not in printed and "nan" not in printed
