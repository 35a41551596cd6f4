"""A session on the real model, tiny and untrained: the stand-in of the other tests tells no lies about it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from page_double import CODEBOOKS, FRAMES, Model, loop_samples

from melformer.audio.io import Waveform, write_waveform
from melformer.config import PRESETS
from melformer.errors import AudioError
from melformer.generate import Melformer
from melformer.ui.explain import codebook_usage, decode_rewritten, decode_with
from melformer.ui.host.limits import Limits
from melformer.ui.session.session import Session
from melformer.ui.session.sessions import Sessions
from melformer.ui.wire import code_columns


@pytest.fixture(scope="module")
def model() -> Melformer:
    torch.manual_seed(0)
    return Melformer(PRESETS["tiny"])


@pytest.fixture(params=[70.0, 100.0, 200.0])
def session(model: Melformer, tmp_path: Path, request: pytest.FixtureRequest) -> Session:
    """At half, at and above the model's own tempo, where a beat is 2, 1 and 1/2 of its beats."""
    path = tmp_path / f"loop_{request.param:g}bpm.wav"
    write_waveform(path, loop_samples(4, request.param))
    sessions = Sessions(model, Limits(), tmp_path / "sessions")
    session = sessions.find(sessions.create(paced=False))
    session.load(path)
    return session


def test_continue_and_keep_going(session: Session) -> None:
    bpm = session.need_loop().prompt.bpm
    first = list(session.runs.play({"n_beats": 2, "seed": 3}))
    assert [one["kind"] for one in first] == ["start", "beat", "beat", "end"]
    list(session.runs.play({"n_beats": 3, "keep": 1}))
    list(session.runs.play({"n_beats": 5, "seed": 3}))
    kept, straight = session.need_take(1), session.need_take(2)
    assert kept.whole().n_samples == round(9 * 60 * 44_100 / bpm)
    assert np.array_equal(kept.whole().samples, straight.whole().samples)
    assert all(columns.shape[1] == 3 for columns in kept.codes)


def test_a_chosen_take_equals_the_streamed_one_and_keeps_going(session: Session) -> None:
    *_, end = session.runs.choose({"n_beats": 2, "seed": 5, "n_takes": 2})
    assert sorted(end["takes"]) == [1, 2]
    list(session.runs.play({"n_beats": 2, "seed": 6}))
    chosen, streamed = session.need_take(2), session.need_take(3)
    assert np.allclose(chosen.whole().samples, streamed.whole().samples, atol=1e-4)
    list(session.runs.play({"n_beats": 1, "keep": 2}))
    assert session.need_take(2).n_beats == 3


def test_codebooks_are_explained(session: Session, model: Melformer) -> None:
    loop = session.need_loop()
    usage = codebook_usage(loop.prompt.codes)
    assert len(usage) == 3
    assert usage[0]["columns"] == len(code_columns(loop.prompt.codes))
    assert decode_with(model, loop, session.folder, 1)["words"] == "Decoded with 1 of 3 codebooks"
    if loop.prompt.bpm < 180:
        order = [{"from": 3 - k, "reversed": k == 0} for k in range(4)]
        assert decode_rewritten(model, loop, session.folder, order)["pcm_path"]


def test_the_stand_in_has_the_methods_of_the_model() -> None:
    for name in (
        "prompt",
        "stream",
        "resume",
        "vary",
        "redo",
        "new_stems",
        "stems",
        "stream_takes",
        "ranked",
        "reconstruct",
    ):
        assert callable(getattr(Melformer, name))
        assert callable(getattr(Model, name))
    shipped = PRESETS["base"].codec
    assert (shipped.latent_frames_per_beat, shipped.n_codebooks) == (FRAMES, CODEBOOKS)


def test_a_part_of_a_take_is_composed_anew(session: Session) -> None:
    """Nothing but that part changes, and the new take goes on from its own end."""
    list(session.runs.play({"n_beats": 6, "seed": 3}))
    old = session.need_take(1)
    answer = session.redo_part(1, 2, 4, None, 9)
    new = session.need_take(answer["take"])
    start, stop = (int(old.loop.edges(k)[-1] - old.loop.edges()[-1]) for k in (2, 4))
    before, after = old.new().samples, new.new().samples
    fade = round(0.011 * old.tape.sample_rate)  # what leads into the part is blended with what was there
    assert before.shape == after.shape and np.array_equal(before[: start - fade], after[: start - fade])
    assert np.array_equal(before[stop:], after[stop:])
    assert not np.array_equal(before[start:stop], after[start:stop])
    assert [new.sources[k] == old.sources[k] for k in (0, 1, 4, 5)] == [True] * 4
    assert new.edited and not old.edited
    list(session.runs.play({"n_beats": 2, "keep": new.number}))
    kept = session.need_take(new.number)
    assert kept.n_beats == 8 and np.array_equal(kept.new().samples[: len(after)], after)
    chosen = list(session.runs.choose({"n_beats": 2, "seed": 5, "n_takes": 2}))[-1]["takes"]
    assert all(
        beat["sources"].keys() == {"drums", "bass", "other"} for beat in session.need_take(chosen[0]).packed(0, 2)
    )


def test_the_players_own_stems_are_used_as_they_are(model: Melformer, tmp_path: Path) -> None:
    """Also where one of them is shorter, or mono, and after cropping; what is not given is silent."""
    sessions = Sessions(model, Limits(), tmp_path / "sessions")
    session = sessions.find(sessions.create(paced=False))
    loop = loop_samples(8, 100.0)
    bass = Waveform(0.25 * loop.samples[: loop.n_samples // 2, :1], loop.sample_rate)
    paths = {"drums": tmp_path / "a_drums_100bpm.wav", "bass": tmp_path / "a_bass_100bpm.wav"}
    write_waveform(paths["drums"], loop, encoding="float")
    write_waveform(paths["bass"], bass, encoding="float")
    session.load_stems(paths, "a")
    session.crop(2, 8)
    prompt = session.need_loop().prompt
    start = 2 * round(0.6 * loop.sample_rate)
    assert np.array_equal(prompt.stems.drums.samples, loop.samples[start:])
    assert np.array_equal(prompt.stems.bass.samples[: bass.n_samples - start, 1], bass.samples[start:, 0])
    assert not prompt.stems.bass.samples[bass.n_samples - start :].any()
    assert session.stems_of(None, None, 60.0).present == ("drums", "bass")
    list(session.runs.play({"n_beats": 2, "seed": 1}))
    write_waveform(paths["bass"], Waveform(bass.samples, 48_000))
    with pytest.raises(AudioError, match="different sample rates"):
        session.load_stems(paths, "a")
