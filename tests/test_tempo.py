"""Tempo by argument, name, metadata and sound, and where the first beat is."""

import numpy as np
import pytest

from melformer.audio.io import write_waveform
from melformer.audio.tempo import Tempo, find_tempo, fit_to_grid
from melformer.audio.tempo_name import bpm_in_name
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
        "waltz": [(0, kick), (1, hat), (2, hat)],
    }[kit]
    bar = 3 if kit == "waltz" else 4
    for start in range(0, n_beats, bar):
        for beat, hit in hits:
            at = round((start + beat) * 60 * RATE / bpm)
            if at < n_samples:
                sound[at : at + len(hit)] += hit
    return Waveform((0.5 * sound[:n_samples]).astype(np.float32), RATE)


NAMES = {
    "loop_120bpm.wav": 120, "hats_130.wav": 130, "loop 92.5 BPM.flac": 92.5, "BPM-90 x.wav": 90, "92,5bpm.aiff": 92.5,
    "Cymbal - Lo 140 BPM A# min.wav": 140, "kit_120_bpm_16beats.wav": 120, "128_BPM_Loop(1).wav": 128,
    "120.wav": 120, "01_Drums_85.wav": 85, "drum-120-4-4.wav": 120, "loop_120.5.mp3": 120.5, "g_97.flac": 97,
    "Loop 120bpm (take 90).wav": 120, "a/b_77/c_99.wav": 99,
    "song (2019).wav": None, "take 130.wav": None, "take_12.wav": None, "loop_44100.wav": None, "loop_24bit.wav": None,
    "x_96k.wav": None, "x_96 kHz.wav": None, "loop_3d_printer.flac": None, "kick_808.wav": None, "loop_300bpm": None,
    "juno_106_pad.wav": None, "loop_100_120.wav": None, "x 64 bars.wav": None, "mix_19-05-98.wav": None, "": None,
    "2019-11-23 jam.wav": None, "loop_001.wav": None, "1120bpm": None, "120bpm or 90bpm.wav": None, "160kbps.mp3": None,
    "loop_0120.wav": None, "loop_1e2bpm.wav": None, "v90.wav": None, "no. 90.wav": None, "90s.wav": None,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_bpm_in_names(name):
    found = bpm_in_name(name)
    assert (found and found[0]) == NAMES[name]


def test_the_order_of_sources(tmp_path):
    loop = drums(100, 8)
    path = tmp_path / "loop_125bpm.wav"
    write_waveform(path, loop, bpm=110)
    assert find_tempo(loop, path=path, bpm=90).source == "argument"
    told = find_tempo(loop, path=path, bpm=90, start_s=0.5)
    assert told == Tempo(90, "argument", 1.0, 0.5, 1.0)
    by_name = find_tempo(loop, path=path)
    assert (by_name.bpm, by_name.source) == (125, "file name")
    plain = tmp_path / "loop.wav"
    write_waveform(plain, loop, bpm=110)
    by_tag = find_tempo(loop, path=plain)
    assert (by_tag.bpm, by_tag.source) == (110, "metadata")
    write_waveform(plain, loop)
    by_sound = find_tempo(loop, path=plain)
    assert (by_sound.bpm, by_sound.source) == (100, "detected")
    assert by_sound.confidence > 0.8 and by_sound.start_s == 0 and by_sound.start_confidence > 0.8


def test_a_bare_number_is_checked_against_the_sound():
    loop = drums(110, 16, kit="four")
    assert find_tempo(loop, path="drums_110.wav").source == "file name"
    assert find_tempo(loop, path="drums_087.wav").bpm == 110
    wrong = find_tempo(loop, path="drums_87.wav")
    assert (wrong.bpm, wrong.source) == (110, "detected")
    stated = find_tempo(loop, path="drums_87bpm.wav")
    assert (stated.bpm, stated.source) == (87, "file name")


@pytest.mark.parametrize("bpm", [82, 92.5, 104, 120, 137.31, 150, 174])
@pytest.mark.parametrize(("kit", "n_beats"), [("rock", 4), ("rock", 16), ("four", 8), ("four", 32)])
def test_loops_are_detected_exactly(bpm, kit, n_beats):
    loop = drums(bpm, n_beats, kit=kit)
    tempo = find_tempo(loop)
    octaves = np.log2(tempo.bpm / bpm)
    assert abs(octaves - round(octaves)) < 1e-4 and abs(round(octaves)) <= 1  # the octave of a bare beat is taste
    if 90 <= bpm < 160:
        assert round(octaves) == 0
    assert tempo.start_s == 0
    assert fit_to_grid(loop, tempo.bpm).message is None


@pytest.mark.parametrize("bpm", [88, 111.5, 128, 143])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_clips_cut_anywhere_are_detected_with_their_first_beat(bpm, seed):
    rng = np.random.default_rng(seed)
    loop = drums(bpm, 40, seed)
    start, stop = round(rng.uniform(0.1, 3) * RATE), round(rng.uniform(12, 16) * RATE)
    tempo = find_tempo(loop.slice(start, stop))
    assert min(abs(tempo.bpm * octave / bpm - 1) for octave in (1, 2)) < 1e-3 and tempo.confidence > 0.3
    phase = (start / RATE + tempo.start_s) * bpm / 60
    assert abs(phase - round(phase)) * 60 / bpm < 0.03  # within 20 ms of a beat, a clip counts as on it


def test_leading_silence_is_skipped_to_a_beat():
    loop = drums(120, 16)
    late = Waveform(np.concatenate([np.zeros((round(1.3 * RATE), 1), np.float32), loop.samples]), RATE)
    assert find_tempo(late, bpm=120).start_s == pytest.approx(1.3, abs=0.02)
    assert find_tempo(late, bpm=120, start_s=0.25).start_s == 0.25


def test_a_waltz_has_its_tempo():
    assert find_tempo(drums(140, 24, kit="waltz")).bpm == 140


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
def test_any_rate_will_do(rate):
    time = np.arange(4 * rate) / rate
    clicks = np.sin(2 * np.pi * 1_000 * time) * np.exp(-60 * (time % 0.5))
    assert find_tempo(Waveform(clicks, rate)).bpm in (60, 120, 240)


def test_channels_that_cancel_each_other_are_heard():
    loop = drums(120, 8)
    wide = Waveform(np.concatenate([loop.samples, -loop.samples], axis=1), RATE)
    assert find_tempo(wide) == find_tempo(loop)


@pytest.mark.parametrize("seconds", [0.01, 0.1, 0.2])
def test_too_short_to_tell(seconds):
    sound = np.random.default_rng(0).standard_normal(round(seconds * RATE)) * 0.1
    with pytest.raises(TempoError, match="BPM"):
        find_tempo(Waveform(sound, RATE))
    assert find_tempo(Waveform(sound, RATE), bpm=120).start_s == 0


def test_silence_has_no_tempo():
    with pytest.raises(TempoError, match="BPM"):
        find_tempo(Waveform(np.zeros(RATE * 4), RATE))


def test_a_drone_is_told_by_its_length_without_certainty():
    time = np.arange(8 * RATE) / RATE
    tempo = find_tempo(Waveform(0.3 * np.sin(2 * np.pi * 110 * time), RATE))
    assert tempo.bpm in (60, 90, 120, 150) and tempo.confidence < 0.9


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
