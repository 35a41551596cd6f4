"""Set (d): the list is sound, tracks become stems, excerpts are those where two stems sound."""

import numpy as np
import pytest
import songs

from melformer.audio.io import write_waveform
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError, RequestError

RATE = songs.SAMPLE_RATE


def tone(seconds: float, level: float) -> Waveform:
    t = np.arange(round(seconds * RATE)) / RATE
    return Waveform(np.repeat((level * np.sin(2 * np.pi * 220 * t)).astype(np.float32)[:, None], 2, axis=1), RATE)


def test_every_track_has_one_stem_and_every_excerpt_a_song():
    for song in songs.songs():
        tracks = [track for stem in songs.STEMS for track in song.tracks[stem]]
        assert sorted(int(track.split("_")[0]) for track in tracks) == list(range(1, len(tracks) + 1)), song.name
        assert 40 <= song.bpm <= 240
    names = {song.name for song in songs.songs()}
    assert songs.excerpts()
    assert {excerpt.song for excerpt in songs.excerpts()} <= names


def test_tracks_of_unequal_length_are_summed_and_kept_below_full_scale(tmp_path):
    song = songs.Song("song", "song.mmpz", 120.0, {"drums": ["1_a", "2_b"], "bass": [], "other": ["3_c"]})
    for name, seconds in (("1_a", 1.0), ("2_b", 2.0), ("3_c", 2.0)):
        write_waveform(tmp_path / f"{name}.wav", tone(seconds, 0.9))
    stems = songs.song_stems(song, tmp_path)
    total = sum(stem.samples for stem in stems.values())
    assert all(stem.n_samples == 2 * RATE for stem in stems.values())
    assert np.abs(total).max() == pytest.approx(0.98, abs=1e-3)
    assert not stems["bass"].samples.any()
    assert np.abs(stems["drums"].samples[:RATE]).max() == pytest.approx(0.98 * 2 / 3, abs=1e-3)
    assert np.abs(stems["drums"].samples[RATE:]).max() == pytest.approx(0.98 / 3, abs=1e-3)


def test_excerpts_are_those_where_two_stems_sound():
    drums = np.concatenate([tone(24, 0.3).samples, np.zeros((24 * RATE, 2), np.float32)])
    stems = {
        "drums": Waveform(drums, RATE),
        "bass": Waveform(np.zeros_like(drums), RATE),
        "other": Waveform(np.repeat(tone(48, 0.3).samples[:, :1], 2, axis=1), RATE),
    }
    song = songs.Song("song", "song.mmpz", 120.0, {})
    assert [e.start_s for e in songs.choose_excerpts(song, stems)] == [0.0, 12.0]
    quiet = {"drums": tone(12, 0.5), "other": tone(12, 0.5 * 10 ** (-45 / 20))}
    assert songs.sounding(quiet) == ["drums"]


def test_clips_are_32_beats_with_two_stems_in_both_halves():
    drums = np.concatenate([tone(20, 0.3).samples, np.zeros((30 * RATE, 2), np.float32)])
    stems = {"drums": Waveform(drums, RATE), "bass": tone(50, 0.2), "other": tone(50, 0.0)}
    clips = list(songs.song_clips(songs.Song("song", "song.mmpz", 120.0, {}), stems))
    assert [(clip.name, clip.bpm, clip.n_beats) for clip in clips] == [("song_0", 120.0, 32)]
    assert np.array_equal(clips[0].waveform.samples, (drums + stems["bass"].samples)[: 16 * RATE])


def test_nothing_to_render_or_to_read_is_said(tmp_path):
    song = songs.Song("song", "nowhere.mmpz", 120.0, {"drums": ["1_a"], "bass": [], "other": []})
    with pytest.raises(RequestError, match=r"nowhere\.mmpz does not exist"):
        songs.render_tracks(song, tmp_path)
    with pytest.raises(AudioError, match="no song of set"):
        next(songs.read_excerpts(tmp_path))
