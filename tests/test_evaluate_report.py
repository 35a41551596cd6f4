"""The whole protocol on a folder, with a tiny untrained model and with another system's files."""

import json

import numpy as np
import pytest
import torch
import write_prompts
from evaluate_band import RATE, play

from melformer.audio.io import read_waveform, write_waveform
from melformer.audio.waveform import Waveform
from melformer.config import PRESETS
from melformer.errors import AudioError, RequestError
from melformer.evaluate import protocol, sets
from melformer.evaluate.report import evaluate
from melformer.evaluate.systems.model_systems import recite
from melformer.generate.pipeline import Melformer


@pytest.fixture(scope="module")
def model() -> Melformer:
    torch.manual_seed(0)
    return Melformer(PRESETS["tiny"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("loops")
    write_waveform(path / "a_120bpm.wav", play(8))
    write_waveform(path / "b_100bpm.wav", play(8, bpm=100, seed=1, chords=((293.7, 370.0, 440.0),)))
    (path / "c.wav").write_bytes(b"rubbish")
    return path


def test_the_whole_report_of_a_model(model, folder):
    told = []
    report = evaluate(folder, model, progress=told.append)
    assert report.n_loops == 2
    assert len(report.left_out) == 2  # a file, and the independent listener, whose weights are not there
    assert len(told) == 3
    assert {"Melformer", "Opus 6 kbps", "white noise"} <= set(report.codec)
    assert {"Melformer", "the truth", "prompt looped", "true codes, own sound"} <= set(report.continuation)
    assert report.transformer.n_beats == 16
    truth, looped = report.continuation["the truth"], report.continuation["prompt looped"]
    assert truth.mean_truth.log10_mel_distance == 0
    assert truth.closer_than["prompt looped"] == 1.0
    assert looped.mean.onset_grid_f1 == 1.0
    drift = [abs(c.scores.loudness_drift_db - t.scores.loudness_drift_db) for c, t in zip(looped.cases, truth.cases)]
    assert looped.manner["loudness_drift_db"] == pytest.approx(np.mean(drift)) and np.mean(drift) > 0.0
    assert set(truth.manner.values()) == {0.0} and truth.manner_nearer["groove_similarity"] == 1.0
    assert set(looped.manner_nearer.values()) == {0.0}  # no nearer than itself
    back = json.loads(report.to_json())
    assert back["protocol"] == 2
    assert back["codec"]["white noise"]["kbps"] is None  # no NaN in JSON
    text = report.to_text()
    for word in ("Opus 24 kbps", "prompt looped", "tuned mixture", "Left out: c.wav"):
        assert word in text
    assert "nan" not in text.lower()  # nothing repeats exactly here, so some figures do not exist


def test_a_candidates_files_are_scored_by_name(folder, tmp_path):
    clips, _ = sets.folder_clips(folder)
    case = protocol.cut(clips[0])
    assert (case.n_prompt, case.n_new) == (4, 4)
    at_48k = np.interp(np.arange(round(case.truth.n_samples * 48 / 44.1)) * 44.1 / 48,
                       np.arange(case.truth.n_samples), case.truth.samples[:, 0])  # fmt: skip
    write_waveform(tmp_path / "a_120bpm.flac", Waveform(at_48k.astype(np.float32), 48_000))
    report = evaluate(folder, candidate=tmp_path, parts=("continuation",), references=False)
    assert list(report.continuation) == ["candidate"]
    (scored,) = report.continuation["candidate"].cases
    assert scored.name == "a_120bpm"
    assert scored.truth.onset_f1_true > 0.95
    assert scored.scores.length_error_ms < 0.1
    assert [line for line in report.left_out if "candidate" in line] == [
        f"{clip.name}: the candidate has no file of this name" for clip in clips[1:]
    ]
    with pytest.raises(AudioError, match="no folder"):
        evaluate(folder, candidate=tmp_path / "missing", parts=("continuation",))
    (tmp_path / "a_120bpm.flac").rename(tmp_path / "answer.flac")
    with pytest.raises(AudioError, match="has the name of a loop, such as a_120bpm"):
        evaluate(folder, candidate=tmp_path, parts=("continuation",))


def test_some_rows_alone_and_quickly(folder):
    report = evaluate(folder, parts=("continuation",), systems=["prompt looped", "the truth"], quick=True)
    assert np.isnan(report.continuation["the truth"].mean_truth.mel_distance)
    assert "against the truth" not in report.to_text()
    assert report.continuation["prompt looped"].manner["loudness_drift_db"] > 0.0
    assert list(report.continuation) == ["the truth", "prompt looped"]
    for rows in (["the turth"], []):
        with pytest.raises(RequestError, match="best copy of the prompt"):
            evaluate(folder, parts=("continuation",), systems=rows)


def test_whole_loops_can_be_continued_without_a_truth(folder):
    report = evaluate(folder, parts=("continuation",), n_new=16)
    looped = report.continuation["prompt looped"]
    assert np.isnan(looped.mean_truth.mel_distance)
    assert "the truth" not in report.continuation
    assert looped.mean.length_error_ms == 0


def test_impossible_requests_are_named_errors(folder, tmp_path):
    for wrong in ({"parts": ("codec", "taste")}, {"parts": ()}, {"limit": 0}):
        with pytest.raises(RequestError, match="parts are"):
            evaluate(folder, **wrong)
    with pytest.raises(AudioError, match="no loop"):
        evaluate(tmp_path)


def test_short_clips_are_prompts_and_long_ones_are_cut_at_a_bar_line():
    short = protocol.cut(sets.on_grid("s", play(4), 120.0))
    assert (short.n_prompt, short.n_new, short.truth) == (4, 16, None)
    for n_beats, expected in ((8, 4), (12, 8), (18, 8), (32, 16)):
        case = protocol.cut(sets.on_grid("l", play(n_beats), 120.0))
        assert case.n_prompt == expected
        assert case.n_prompt + case.n_new == n_beats
    waltz = protocol.cut(sets.on_grid("w", play(12), 120.0), beats_per_bar=3)
    assert waltz.n_prompt == 6


def test_reciting_the_prompts_own_codes_copies_the_prompt(model):
    """True codes that equal the prompt's must come out as the prompt's own samples."""
    prompt = model.prompt(play(8), bpm=120.0)
    answer = recite(model, prompt, prompt.codes, 8, own_sound=1.0)
    assert answer.copied_share == 1.0
    assert answer.new.n_samples == prompt.waveform.n_samples
    inner = slice(RATE // 2, 3 * RATE)
    same = np.abs(answer.new.samples[inner] - prompt.waveform.samples[inner]) < 1e-4
    assert same.mean() > 0.99
    alone = recite(model, prompt, prompt.codes, 8, own_sound=0.0)
    assert alone.copied_share == 0.0


def test_an_empty_list_of_cases_is_a_named_error():
    with pytest.raises(AudioError, match="no loop to continue"):
        protocol.run([], {})


def test_pictures_are_written_and_show_something(model, folder, tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    from melformer.evaluate.plots import write_plots

    written = write_plots(folder, tmp_path / "plots", model, limit=1)
    kinds = {path.stem.rsplit("_", 1)[1] for path in written}
    assert kinds == {"spectrograms", "similarity", "sources", "tokens"}
    for path in written:
        picture = imread(path)
        assert picture.shape[0] > 200
        assert len(np.unique(picture[..., 0])) > 20


def test_prompts_for_other_systems_end_where_the_protocol_cuts(folder, tmp_path, capsys):
    assert write_prompts.main([str(folder), str(tmp_path / "out")]) == 0
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text())
    assert [task["file"] for task in tasks] == ["a_120bpm.wav", "b_100bpm.wav"]
    case = protocol.cut(sets.folder_clips(folder)[0][0])
    given = read_waveform(tmp_path / "out" / "a_120bpm.wav")
    assert given.n_samples == case.prompt.n_samples
    assert tasks[0]["new_samples"] == case.truth.n_samples
    assert (tasks[0]["prompt_beats"], tasks[0]["new_beats"], tasks[0]["bpm"]) == (4, 4, 120.0)
    assert write_prompts.main([str(tmp_path / "none"), str(tmp_path)]) == 2
    assert "no folder" in capsys.readouterr().err


def test_a_mono_answer_to_a_stereo_prompt_is_as_loud():
    clip = sets.on_grid("s", Waveform(np.repeat(play(8).samples, 2, axis=1), RATE), 120.0)
    case = protocol.cut(clip)
    scored = protocol.score(case, protocol.Answer(case.truth.mono()))
    assert scored.scores.loudness_drift_db < 0.5
    assert scored.truth.loudness_error_db == pytest.approx(0, abs=1e-4)
