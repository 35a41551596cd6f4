"""Reference points, comparison on common ground, and the evaluation sets."""

import json
from itertools import pairwise

import choose_clips
import codec_report
import evaluation_sets
import numpy as np
import pytest
from evaluate_band import RATE, play

from melformer.audio.grid import BeatGrid
from melformer.audio.io import write_waveform
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError, RequestError
from melformer.evaluate import codec_scores, sets, tables
from melformer.evaluate.metrics import comparison, stereo_error, visqol
from melformer.evaluate.systems import best_copy, references

BPM = 120.0


@pytest.fixture(scope="module")
def band() -> Waveform:
    return play(8)


def test_lossy_codecs_keep_length_and_time_and_rank_by_rate(band):
    results = [references.opus(band, kbps) for kbps in references.OPUS_KBPS]
    for wanted, result in zip(references.OPUS_KBPS, results, strict=True):
        assert result.kbps == pytest.approx(wanted, rel=0.4)  # Ogg's pages weigh in 12 s
        assert result.waveform.samples.shape == (band.n_samples, 1)
    mp3 = references.mp3(band)
    assert mp3.kbps == pytest.approx(32, rel=0.05)
    scores = [comparison.compare(band, result.waveform) for result in [*results, mp3]]
    assert scores[0].mel_distance > scores[1].mel_distance > scores[2].mel_distance > 0.1
    assert scores[3].si_sdr_db > 0  # only if its decoder's delay was taken out
    assert min(s.onset_f1 for s in scores[1:]) > 0.8


def test_opus_refuses_rates_it_cannot_have(band):
    for kbps in (5, 300, float("nan")):
        with pytest.raises(RequestError, match="6 to 256"):
            references.opus(band, kbps)


def test_every_codec_measure_ranks_noise_below_music(band):
    """The calibration each measure must pass: Opus at 6 kbps is bad music, but music.

    Not loudness: the noise is given the clip's level.
    """
    music = comparison.compare(band, references.opus(band, 6).waveform)
    noise = comparison.compare(band, references.white_noise(band))
    for name in (
        "mel_distance",
        "stft_distance",
        "log_spectral_distance_db",
        "pitch_error_cents",
    ):
        assert getattr(noise, name) > getattr(music, name), name
    for name in ("si_sdr_db", "onset_f1", "chroma_cosine", "harmonicity_error_db"):
        assert getattr(noise, name) < getattr(music, name), name


def test_a_copy_compares_as_perfect_in_stereo_at_another_rate_and_level(band):
    stereo = Waveform(np.repeat(band.samples, 2, axis=1), RATE)
    for reference in (band, stereo):
        same = comparison.compare(reference, band)
        assert same.mel_distance < 1e-5
        assert (same.onset_f1, same.loudness_error_db, same.pitch_error_cents) == (1.0, 0.0, 0.0)
        assert same.chroma_cosine == pytest.approx(1)
    soft = Waveform(band.samples * 0.05, RATE)
    noisy = [Waveform(w.samples + 0.1 * references.white_noise(w).samples, RATE) for w in (band, soft)]
    loud_distance, soft_distance = (
        comparison.compare(a, b).mel_distance for a, b in zip((band, soft), noisy, strict=True)
    )
    assert soft_distance == pytest.approx(loud_distance, rel=0.02)  # by the standard loudness


def test_different_lengths_and_short_clips_are_named_errors(band):
    with pytest.raises(AudioError, match="same passage"):
        comparison.compare(band, band.slice(0, band.n_samples // 2))
    with pytest.raises(AudioError, match="too short"):
        comparison.compare(band.slice(0, 100), band.slice(0, 100))
    with pytest.raises(AudioError, match="nothing to average"):
        comparison.mean_of([])


def test_looped_stays_on_the_grid(band):
    for bpm in (119.3, 133.7):
        n_samples = BeatGrid(bpm, RATE).edge(3)
        prompt = band.slice(0, n_samples)
        looped = references.looped(prompt, bpm, 8)
        edges = BeatGrid(bpm, RATE).edges(11)
        assert looped.n_samples == edges[11] - edges[3]
        second = edges[6] - edges[3]
        np.testing.assert_array_equal(looped.samples[:1000], prompt.samples[:1000])
        np.testing.assert_array_equal(looped.samples[second : second + 1000], prompt.samples[:1000])


def test_shuffled_keeps_every_beat_and_its_place(band):
    mixed = references.shuffled(band, BPM, 8)
    edges = BeatGrid(BPM, RATE).edges(8)
    pieces = [[w.samples[a:b].tobytes() for a, b in pairwise(edges)] for w in (band, mixed)]
    assert sorted(pieces[0]) == sorted(pieces[1])
    assert pieces[0] != pieces[1]


def test_white_noise_has_the_clips_level(band):
    noise = references.white_noise(band)
    assert noise.samples.shape == band.samples.shape
    assert noise.samples.std() == pytest.approx(np.sqrt(np.square(band.samples).mean()), rel=0.02)


def test_codec_part_and_its_tables(band):
    clips = [sets.on_grid("band", band, BPM)]
    perfect = codec_scores.measure_codec(clips, lambda w, bpm: w, lambda bpm: bpm / 100)
    assert perfect.kbps == 1.2
    assert perfect.mean.mel_distance == 0

    def encode(waveform, bpm):
        beats = waveform.samples[: 32 * (waveform.n_samples // 32), 0].reshape(8, 4, -1)
        return (np.square(beats).mean(axis=2, keepdims=True) * 1e3).astype(np.int64) % 16

    codes = codec_scores.measure_codes(clips, encode, 16)
    assert 0 < codes.entropy_kbps < 4 * 4 * 2 / 1000  # 4 frames of at most 4 bits, 2 beats a second
    text = tables.systems_table({"perfect": perfect}) + codec_report.clips_table(perfect) + tables.codes_table(codes)
    assert "perfect" in text
    assert "half_sample" in text


def test_the_list_of_real_clips_holds_facts_in_range():
    facts = json.loads(evaluation_sets.FACTS.read_text())
    assert len(facts) == 60
    assert len({fact["track"] for fact in facts}) == 60
    for fact in facts:
        assert set(fact) == {"track", "bpm", "start_s", "off_grid_ms"}
        assert 60 <= fact["bpm"] <= 200
        assert fact["start_s"] >= 0
        assert fact["off_grid_ms"] <= 15


def test_straight_beats_are_chosen_and_crooked_ones_not(tmp_path):
    band = play(48, bpm=100)
    path = tmp_path / "track.flac"
    write_waveform(path, band)
    steady = np.arange(49) * 0.6 + np.random.default_rng(0).uniform(-0.01, 0.01, 49)  # as coarse as a tracker
    fact = choose_clips.choose(str(path), steady)
    assert fact is not None
    assert fact.bpm == pytest.approx(100, abs=0.02)
    assert fact.start_s == pytest.approx(2.4, abs=0.005)
    slowing = np.cumsum(0.6 + np.arange(49) * 0.002)
    assert choose_clips.choose(str(path), slowing) is None
    assert choose_clips.choose(str(path), steady[:20]) is None


def test_a_folder_of_loops_is_read_by_name_and_faults_are_told(tmp_path, band):
    write_waveform(tmp_path / "a_120bpm.wav", band)
    (tmp_path / "b_120bpm.wav").write_bytes(b"no audio")
    (tmp_path / "notes.txt").write_text("not audio")
    clips, left_out = sets.folder_clips(tmp_path)
    assert [(c.name, c.bpm, c.n_beats) for c in clips] == [("a_120bpm", 120.0, 8)]
    assert len(left_out) == 1
    assert left_out[0].startswith("b_120bpm.wav")
    (tmp_path / "a_120bpm.wav").unlink()
    with pytest.raises(AudioError, match="b_120bpm"):
        sets.folder_clips(tmp_path)
    with pytest.raises(AudioError, match="no folder"):
        sets.folder_clips(tmp_path / "missing")


def test_written_clips_are_read_back_on_the_same_grid(tmp_path, band):
    clip = sets.on_grid("band", band, BPM)
    assert evaluation_sets.write_clips([clip], tmp_path) == 1
    (back,), left_out = sets.folder_clips(tmp_path)
    assert (back.bpm, back.n_beats, left_out) == (BPM, 8, [])
    assert np.abs(back.waveform.samples - band.samples).max() < 1e-6  # 24 bits


def test_the_best_copy_rebuilds_a_repeat_and_is_closer_than_looping():
    prompt, truth = play(8), play(8)
    exact = best_copy.best_copy(prompt, truth, BPM, 8, 8)
    inner = slice(3000, -3000)  # the ends have no overlapping frames
    np.testing.assert_allclose(exact.samples[inner], truth.samples[inner], atol=1e-4)
    turned = play(8, first_beat=4)  # the second bar comes first
    best = best_copy.best_copy(prompt, turned, BPM, 8, 8)
    looped = references.looped(prompt, BPM, 8)
    assert comparison.compare(turned, best).mel_distance < 0.6 * comparison.compare(turned, looped).mel_distance


def test_visqol_is_nan_where_it_is_not_asked_for_or_not_installed(band, monkeypatch):
    assert np.isnan(comparison.compare(band, band).visqol)
    monkeypatch.setattr("melformer.evaluate.metrics.visqol.find_spec", lambda name: None)
    assert np.isnan(comparison.compare(band, band, with_visqol=True).visqol)


@pytest.mark.skipif(not visqol.is_installed(), reason="visqol-python is not installed")
def test_visqol_ranks_a_copy_above_noise(band):
    short = band.slice(0, 2 * RATE)
    assert visqol.visqol(short, short) > 4.5
    assert visqol.visqol(short, references.white_noise(short)) < 2


def test_stereo_error_tells_pan_and_width(band):
    rng = np.random.default_rng(0)
    mono = band.samples[: 3 * RATE, 0]
    panned = np.stack([mono, 0.5 * mono], axis=1)
    middle = np.stack([mono, mono], axis=1)
    wide = 0.1 * rng.standard_normal((3 * RATE, 2)).astype(np.float32)
    same = stereo_error.stereo_error(panned, panned, RATE)
    assert (same.level_db, same.correlation) == (0.0, 0.0)
    moved = stereo_error.stereo_error(panned, middle, RATE)
    assert moved.level_db == pytest.approx(20 * np.log10(2), abs=0.1)
    assert moved.correlation < 0.01
    narrowed = stereo_error.stereo_error(wide, np.repeat(wide.mean(axis=1, keepdims=True), 2, axis=1), RATE)
    assert narrowed.correlation == pytest.approx(1, abs=0.2)
    assert np.isnan(stereo_error.stereo_error(mono[:, None], mono[:, None], RATE).level_db)
    assert stereo_error.stereo_error(np.zeros_like(middle), np.zeros_like(middle), RATE).level_db == 0
    with pytest.raises(AudioError):
        stereo_error.stereo_error(middle, middle[:-1], RATE)


def test_speeds_keep_the_beats_and_move_tempo_with_pitch(band):
    clip = sets.on_grid("band", band, BPM)
    heard = []

    def reconstruct(waveform, bpm):
        heard.append((round(waveform.duration_s * bpm / 60, 3), bpm))
        return waveform

    assert codec_report.measure_speeds([clip], reconstruct) == {0.8: 0.0, 1.0: 0.0, 1.25: 0.0}
    assert heard == [(8.0, 96.0), (8.0, 120.0), (8.0, 150.0)]
