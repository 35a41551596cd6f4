"""The grid of a loop: by argument, name, metadata, length and sound; every loop is made here."""

import struct

import numpy as np
import pytest
from scipy.signal import fftconvolve

from melformer.audio.grid import fit_to_grid
from melformer.audio.io import write_waveform
from melformer.audio.tempo import Tempo, find_tempo, fit_loop
from melformer.audio.tempo.edges import find_edges
from melformer.audio.tempo.name import bpm_in_name
from melformer.audio.waveform import Waveform
from melformer.errors import TempoError

RATE = 22_050


def drums(bpm, n_beats, seed=0, kit="rock"):
    """A plain beat: kick on 1 and 3, snare on 2 and 4, hats on eighths; exactly n_beats long."""
    rng = np.random.default_rng(seed)
    n_samples = round(n_beats * 60 * RATE / bpm)
    sound = np.zeros(n_samples + RATE)
    time = np.arange(RATE // 4) / RATE
    kick = np.sin(2 * np.pi * (50 * time + 8 * (1 - np.exp(-time * 40)))) * np.exp(-time * 18)
    snare = rng.standard_normal(len(time)) * np.exp(-time * 25) * 0.5
    hat = np.diff(rng.standard_normal(len(time) + 1)) * np.exp(-time * 90) * 0.15
    hits = {
        "rock": [(0, kick), (2, kick), (1, snare), (3, snare), *((k / 2, hat) for k in range(8))],
        "four": [*((k, kick) for k in range(4)), *((k + 0.5, hat) for k in range(4)), (1, snare), (3, snare)],
    }[kit]
    for start in range(0, n_beats, 4):
        for beat, hit in hits:
            at = round((start + beat) * 60 * RATE / bpm)
            if at < n_samples:
                sound[at : at + len(hit)] += hit
    return Waveform((0.5 * sound[:n_samples]).astype(np.float32), RATE)


def in_silence(loop, before_s, after_s):
    pads = [np.zeros((round(s * loop.sample_rate), loop.n_channels), np.float32) for s in (before_s, after_s)]
    return Waveform(np.concatenate([pads[0], loop.samples, pads[1]]), loop.sample_rate)


NAMES = {
    "loop_120bpm.wav": 120, "hats_130.wav": 130, "loop 92.5 BPM.flac": 92.5, "BPM-90 x.wav": 90, "92,5bpm.aiff": 92.5,
    "Cymbal - Lo 140 BPM A# min.wav": 140, "kit_120_bpm_16beats.wav": 120, "128_BPM_Loop(1).wav": 128,
    "120.wav": 120, "01_Drums_85.wav": 85, "drum-120-4-4.wav": 120, "loop_120.5.mp3": 120.5, "g_97.flac": 97,
    "Loop 120bpm (take 90).wav": 120, "a/b_77/c_99.wav": 99, "NAME_064__BPM_150_.wav": 150, "090 NuJazz Kit.wav": 90,
    "amen_beats64_bpm172.wav": 172, "Synth_45_BPM_120.wav": 120, "PT_128_x.wav": 128, "Trap Beat 140.wav": 140,
    "x_beats16_bpm170.wav": 170,
    "song (2019).wav": None, "take 130.wav": None, "take_12.wav": None, "loop_44100.wav": None, "loop_24bit.wav": None,
    "x_96k.wav": None, "x_96 kHz.wav": None, "loop_3d_printer.flac": None, "kick_808.wav": None, "loop_300bpm": None,
    "juno_106_pad.wav": None, "loop_100_120.wav": None, "x 64 bars.wav": None, "mix_19-05-98.wav": None, "": None,
    "2019-11-23 jam.wav": None, "loop_001.wav": None, "1120bpm": None, "160kbps.mp3": None,
    "loop_0120.wav": None, "loop_1e2bpm.wav": None, "v90.wav": None, "no. 90.wav": None, "90s.wav": None,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_bpm_in_names(name):
    found = bpm_in_name(name)
    assert (found and found.bpms[0]) == NAMES[name]


def test_names_that_may_mean_either_leave_it_to_the_sound():
    assert bpm_in_name("85-170bpm.wav").bpms == (85.0, 170.0)
    assert bpm_in_name("120bpm or 90bpm.wav").bpms == (120.0, 90.0)
    assert bpm_in_name("Synth_45_BPM_120.wav").bpms == (120.0, 45.0)


def test_what_is_given_holds(tmp_path):
    loop = drums(100, 8)
    path = tmp_path / "loop_125bpm.wav"
    write_waveform(path, loop, bpm=110)
    assert find_tempo(loop, path=path, bpm=90).source == "argument"
    told = find_tempo(loop, path=path, bpm=90, start_s=0.5)
    assert told == Tempo(90, "argument", 1.0, 0.5, 1.0)


def test_name_and_metadata_are_followed_where_they_fit(tmp_path):
    loop = drums(110, 8)
    plain, named = tmp_path / "loop.wav", tmp_path / "loop_110bpm.wav"
    write_waveform(plain, loop, bpm=110)
    write_waveform(named, loop)
    by_tag, by_name, by_sound = find_tempo(loop, path=plain), find_tempo(loop, path=named), find_tempo(loop)
    assert [t.bpm for t in (by_tag, by_name, by_sound)] == [110, 110, 110]
    assert [t.source for t in (by_tag, by_name, by_sound)] == ["metadata", "file name", "detected"]
    assert min(t.confidence for t in (by_tag, by_name, by_sound)) >= 0.9 and by_name.messages == ()


def test_a_name_that_the_sound_contradicts_is_not_followed_and_the_user_is_told(tmp_path):
    loop = drums(100, 32, kit="four")
    found = find_tempo(loop, path=tmp_path / "loop_128bpm.wav")
    assert found.bpm == 100 and found.source == "detected"
    assert "its name says 128 BPM" in found.messages[0]


def test_an_acid_tempo_that_its_own_beats_contradict_is_not_followed(tmp_path):
    loop = drums(93, 16)
    path = tmp_path / "loop.wav"
    write_waveform(path, loop, bpm=93)
    data = bytearray(path.read_bytes())
    data[data.find(b"acid") + 8 + 20 : data.find(b"acid") + 8 + 24] = struct.pack("<f", 120.0)
    path.write_bytes(data)
    found = find_tempo(loop, path=path)
    assert found.bpm == pytest.approx(93, rel=1e-3)
    assert "120 BPM" in " ".join(found.messages)


def test_the_beats_of_a_long_file_are_counted_over_its_whole_length(tmp_path):
    loop = drums(97, 32)
    path = tmp_path / "loop.wav"
    write_waveform(path, loop, bpm=97)
    found = find_tempo(loop.slice(0, 7 * RATE), path=path, whole_s=loop.duration_s)
    assert (found.bpm, found.source) == (97, "metadata") and found.messages == ()


@pytest.mark.parametrize("bpm", [82, 104, 120, 137.31, 174])
@pytest.mark.parametrize(("kit", "n_beats"), [("rock", 16), ("four", 8)])
def test_loops_are_detected_exactly(bpm, kit, n_beats):
    loop = drums(bpm, n_beats, kit=kit)
    tempo = find_tempo(loop)
    octaves = np.log2(tempo.bpm / bpm)
    assert abs(octaves - round(octaves)) < 1e-4 and abs(round(octaves)) <= 1  # the octave of a bare beat is taste
    assert tempo.start_s == 0
    assert fit_loop(loop, tempo).message is None


@pytest.mark.parametrize(
    ("before_s", "after_s"), [(0.01, 0), (0.015, 0.01), (0.025, 0.02), (0, 0.023), (1.0, 0), (0, 1.0), (0.5, 4.0)]
)
def test_silence_around_a_loop_changes_nothing(before_s, after_s):
    loop = drums(120, 16)
    tempo = find_tempo(in_silence(loop, before_s, after_s))
    assert tempo.bpm == 120
    assert tempo.start_s == pytest.approx(before_s, abs=0.006)
    fit = fit_loop(in_silence(loop, before_s, after_s), tempo)
    assert fit.n_beats == 16 and fit.tail is None
    assert (fit.message is None) == (max(before_s, after_s) < 0.02)  # what is shorter is not worth telling


def test_silence_behind_a_sound_that_is_cut_off_is_no_rest():
    """118.4 BPM; with these 25 ms the file is as long as four beats at 117, which was believed with 0.9."""
    loop = drums(118.4, 4)
    samples = loop.samples[:, 0] + 0.3 * np.sin(2 * np.pi * 110 * np.arange(loop.n_samples) / RATE + 0.4)
    clip = in_silence(Waveform(samples.astype(np.float32), RATE), 0.0, 0.025)
    assert find_tempo(clip).bpm == 118.4
    cut, faded = find_edges(clip), find_edges(in_silence(loop, 0.0, 0.025))
    assert cut.is_cut_off and not faded.is_cut_off
    assert [span for span in cut.spans if span[1] == cut.duration_s] == []
    assert [span for span in faded.spans if span[1] == faded.duration_s]


def test_a_loop_that_ends_in_a_rest_keeps_its_last_bar():
    loop = drums(120, 16)
    samples = loop.samples.copy()
    samples[round(14 * 0.5 * RATE) :] = 0  # nothing on the last two beats
    for after_s in (0.0, 4.0):
        clip = in_silence(Waveform(samples, RATE), 0.0, after_s)
        assert fit_loop(clip, find_tempo(clip, bpm=120)).n_beats == 16


@pytest.mark.parametrize("decay_s", [0.6, 1.6])
def test_a_tail_is_kept_apart_and_can_be_folded_onto_the_beginning(decay_s):
    loop = drums(120, 16)
    rng = np.random.default_rng(3)
    room = rng.standard_normal(round(decay_s * RATE)) * np.exp(-6 * np.arange(round(decay_s * RATE)) / (decay_s * RATE))
    wet = fftconvolve(loop.samples[:, 0], room * 0.02)
    sound = wet.astype(np.float32)
    sound[: loop.n_samples] += loop.samples[:, 0]
    clip = Waveform(sound, RATE)
    tempo = find_tempo(clip)
    fit = fit_loop(clip, tempo)
    assert (tempo.bpm, fit.n_beats) == (120, 16)
    assert fit.tail is not None and fit.tail.n_samples == clip.n_samples - fit.waveform.n_samples
    assert "tail" in fit.message
    folded = fit.folded()
    np.testing.assert_allclose(folded.samples[100], fit.waveform.samples[100] + fit.tail.samples[100])


@pytest.mark.parametrize("seed", [1, 2])
def test_clips_cut_anywhere_are_detected_with_their_first_beat(seed):
    bpm, rng = 111.5, np.random.default_rng(seed)
    loop = drums(bpm, 40, seed)
    start, stop = round(rng.uniform(0.1, 3) * RATE), round(rng.uniform(12, 16) * RATE)
    tempo = find_tempo(loop.slice(start, stop))
    assert min(abs(tempo.bpm * octave / bpm - 1) for octave in (1, 2)) < 1e-3 and tempo.confidence > 0.3
    phase = (start / RATE + tempo.start_s) * bpm / 60
    assert abs(phase - round(phase)) * 60 / bpm < 0.03


def test_a_metre_that_is_given_says_which_lengths_are_whole_bars():
    """Two bars of seven beats with hits on 1, 4 and 5: without the metre they are seven slow beats."""
    bpm, n_beats = 140, 14
    time = np.arange(RATE // 5) / RATE
    kick = 0.7 * np.sin(2 * np.pi * 60 * time) * np.exp(-20 * time)
    sound = np.zeros(7 * RATE)
    for beat in range(n_beats):
        at = round(beat * 60 * RATE / bpm)
        if beat % 7 in (0, 3, 4):
            sound[at : at + len(time)] += kick
    loop = Waveform(sound[: round(n_beats * 60 * RATE / bpm)].astype(np.float32), RATE)
    tempo = find_tempo(loop, beats_per_bar=7)
    assert (tempo.bpm, fit_loop(loop, tempo).n_beats) == (140, 14)
    with pytest.raises(TempoError, match="1 to 16 beats"):
        find_tempo(loop, beats_per_bar=17)


def test_a_start_given_is_kept():
    late = in_silence(drums(120, 16), 1.3, 0)
    assert find_tempo(late, bpm=120).start_s == pytest.approx(1.3, abs=0.02)
    assert find_tempo(late, bpm=120, start_s=0.25).start_s == 0.25


def test_a_single_hit_is_told_as_one_and_played_once_a_beat():
    time = np.arange(RATE // 3) / RATE
    kick = (0.8 * np.sin(2 * np.pi * 60 * time) * np.exp(-20 * time)).astype(np.float32)
    clip = in_silence(Waveform(kick, RATE), 0.353, 4.0)
    tempo = find_tempo(clip)
    assert tempo.is_one_shot and "single hit" in tempo.messages[0]
    fit = fit_loop(clip, tempo)
    beat = round(60 * RATE / tempo.bpm)
    assert fit.n_beats == 4 and fit.waveform.n_samples == 4 * beat
    levels = np.abs(fit.waveform.samples[:, 0])
    for k in range(4):
        assert levels[k * beat : k * beat + RATE // 50].max() > 0.5 and levels[(k + 1) * beat - 50] < 0.01
    assert levels.max() <= np.abs(kick).max()
    assert find_tempo(clip, path="kick_90bpm.wav").bpm == 90


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
def test_any_rate_will_do(rate):
    time = np.arange(8 * rate) / rate
    clicks = np.sin(2 * np.pi * 1_000 * time) * np.exp(-60 * (time % 0.5))
    assert find_tempo(Waveform(clicks, rate)).bpm in (60, 120, 240)


def test_channels_that_cancel_each_other_are_heard():
    loop = drums(120, 8)
    wide = Waveform(np.concatenate([loop.samples, -loop.samples], axis=1), RATE)
    assert find_tempo(wide) == find_tempo(loop)


@pytest.mark.parametrize("seconds", [0.01, 0.1, 0.2, 0.45])
def test_too_short_to_tell(seconds):
    sound = np.random.default_rng(0).standard_normal(round(seconds * RATE)) * 0.1
    with pytest.raises(TempoError, match="BPM"):
        find_tempo(Waveform(sound, RATE))
    assert find_tempo(Waveform(sound, RATE), bpm=120).start_s == 0


def test_silence_has_no_tempo():
    with pytest.raises(TempoError, match="BPM"):
        find_tempo(Waveform(np.zeros(RATE * 4), RATE))


def test_confidence_means_something():
    """Of clips with a clear beat it is sure, of noise it is not."""
    noise = np.random.default_rng(1).standard_normal(round(7.77 * RATE)) * 0.1
    assert find_tempo(Waveform(noise, RATE)).confidence < 0.7 < find_tempo(drums(120, 16)).confidence


@pytest.mark.parametrize("bpm", [0, -1, 10_000, float("nan")])
def test_impossible_arguments(bpm):
    with pytest.raises(TempoError):
        find_tempo(drums(120, 4), bpm=bpm)
    with pytest.raises(TempoError):
        find_tempo(drums(120, 4), start_s=99)


def test_a_drone_is_told_by_its_length_without_certainty():
    time = np.arange(8 * RATE) / RATE
    tempo = find_tempo(Waveform(0.3 * np.sin(2 * np.pi * 110 * time), RATE))
    assert tempo.bpm in (60, 90, 120, 150) and tempo.confidence < 0.9


def test_a_late_start_is_told_as_one():
    fit = fit_to_grid(in_silence(drums(120, 8), 0.02, 0), 120, 0.02)
    assert fit.message == "Skipped 0.02 s at the start."
