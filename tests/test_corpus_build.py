"""A corpus on disk: the same bytes for any number of workers, a true index, clean sources only."""

import ast
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus_spread import FEATURES, covered, features

import melformer.corpus
from melformer.audio.io import read_bpm_tag, read_waveform
from melformer.corpus import build, compose, iterate
from melformer.corpus.gallery import EXAMPLES, gallery
from melformer.corpus.sound_sources import passage_sources, survey
from melformer.corpus.synthesis import samples
from melformer.corpus.synthesis.kits import _SAMPLED
from melformer.data.beat_dataset import material_sources
from melformer.errors import RequestError

HOURS = 0.006  # two or three loops
EVALUATION = ("loop_amen", "loop_breakbeat", "loop_compus", "arovane_beat_a", "tbd_fxbed_loop", "ambi_drone")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_bytes_do_not_depend_on_the_workers(tmp_path):
    for workers in (1, 2):
        build(tmp_path / str(workers), HOURS, 9, workers, long=0.0)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_the_index_tells_the_truth(tmp_path):
    count = build(tmp_path, HOURS, 5, long=0.0, stems=True)
    lines = [json.loads(line) for line in (tmp_path / "index.jsonl").read_text().splitlines()]
    assert len(lines) == count == len(list(tmp_path.glob("*.flac")))
    for line in lines:
        waveform = read_waveform(tmp_path / line["file"])
        assert waveform.n_samples == round(line["n_beats"] * 60 / line["bpm"] * waveform.sample_rate)
        assert read_bpm_tag(tmp_path / line["file"]) == pytest.approx(line["bpm"], abs=0.005)
        assert f"_{line['bpm']:g}bpm" in line["file"]
        stems = {p.stem for p in (tmp_path / line["file"].removesuffix(".flac")).glob("*.flac")}
        assert stems == {"drums", "bass", "other"}
        assert {"style", "seed", "metre", "key", "mode", "chords", "form", "beats_per_bar", "sources"} <= set(line)
        assert {source["licence"] for source in line["sources"]} <= {"CC0-1.0", "MIT"}
    total = sum(line["n_beats"] * 60 / line["bpm"] for line in lines)
    assert total >= HOURS * 3600 > total - lines[-1]["n_beats"] * 60 / lines[-1]["bpm"]
    hours, sources = material_sources([tmp_path])
    assert "Melformer's own synthesis" in {name for name, _ in sources}
    assert hours == pytest.approx(total / 3600)


def test_the_iterator_gives_what_is_built_and_shares_it_out(tmp_path):
    build(tmp_path, HOURS, 9, long=0.0)
    first = json.loads((tmp_path / "index.jsonl").read_text().splitlines()[0])
    passage, waveform = next(iterate(9, long=0.0))
    stored = soundfile.read(tmp_path / first["file"], dtype="float32")[0]
    assert passage.seed == first["seed"]
    assert np.abs(stored - waveform.samples).max() <= 1 / 32768  # 16 bits
    alone = [p.seed for p, _ in itertools.islice(iterate(9, long=0.0), 2)]
    ranks = [next(iterate(9, long=0.0, start=rank, step=2))[0].seed for rank in (0, 1)]
    assert alone == ranks


def test_styles_can_be_held_out(tmp_path):
    held = itertools.islice(iterate(1, styles=["house", "waltz"], exclude=["house"], long=0.0), 3)
    assert {passage.style for passage, _ in held} == {"waltz"}
    for wrong in ({"styles": ["polka"]}, {"styles": ["house"], "exclude": ["house"]}):
        with pytest.raises(RequestError):
            build(tmp_path, HOURS, 1, **wrong)
    with pytest.raises(RequestError, match="hours"):
        build(tmp_path, 0, 1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", EVALUATION)
def test_evaluation_loops_cannot_be_read(name, tmp_path, monkeypatch):
    """Even where they lie beside the one-shots: neither listed, nor loaded, nor named by any kit."""
    for stem in (name, "bd_haus"):
        soundfile.write(tmp_path / f"{stem}.flac", np.full(100, 0.5), 44_100)
    monkeypatch.setattr(samples, "FOLDERS", (str(tmp_path),))
    assert samples.names() == ["bd_haus"]
    with pytest.raises(ValueError, match="evaluation"):
        samples.load(name, 44_100)


def test_a_sample_name_cannot_leave_its_folder():
    for name in ("bd_../loop_amen", "bd_/../../etc/passwd", "bd_x\\loop", "bd_haus.flac"):
        assert not samples.allowed(name)


def test_kits_name_only_allowed_one_shots():
    named = {name for group in _SAMPLED.values() for names in group.values() for name in names.split()}
    assert len(named) > 50 and all(samples.allowed(name) for name in named)


def test_recordings_are_read_in_one_guarded_place():
    """`samples.load` asks `allowed` first; nothing else in the engine opens audio."""
    readers = set()
    for path in Path(melformer.corpus.__file__).parent.rglob("*.py"):
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        called = {call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls}
        if called & {"read", "SoundFile", "read_waveform"}:
            readers.add(path.name)
    assert readers == {"samples.py"}


def test_every_source_is_named_with_a_licence():
    kinds = {material.kind: material for material in survey()}
    assert set(kinds) == {"synthesis", "one-shots", "soundfont"}
    assert all(material.source["licence"] in ("CC0-1.0", "MIT") for material in kinds.values())
    assert all(kinds[kind].install.startswith("apt-get install") for kind in ("one-shots", "soundfont"))
    alone = compose(3, "salsa", 4, kinds=frozenset())
    assert [source["licence"] for source in passage_sources(alone)] == ["CC0-1.0"]


def test_the_gallery_shows_every_style_asked_for(tmp_path):
    page = gallery(tmp_path, ["house", "waltz"], n_beats=6).read_text()
    assert page.count("<img") == page.count("<audio") == 2
    assert {p.suffix for p in tmp_path.iterdir()} == {".html", ".png", ".flac"}


def test_the_examples_are_loops_with_their_tempo_in_the_name():
    folder = Path(__file__).resolve().parents[1] / "examples"
    files = sorted(folder.glob("*.flac"))
    assert len(files) == len(EXAMPLES) == 8
    for style, n_beats, seed in EXAMPLES:
        bpm = compose(seed, style, n_beats, kinds=frozenset()).bpm
        waveform = read_waveform(folder / f"{style.replace(' ', '_')}_{bpm:g}bpm.flac")
        assert waveform.n_channels == 2 and waveform.n_samples == round(n_beats * 60 / bpm * 44_100)
        assert 8 <= n_beats <= 16


def test_features_know_a_click_track_from_a_drone():
    rate, t = 44_100, np.arange(6 * 44_100) / 44_100
    drone = np.sin(2 * np.pi * 220 * t)[:, None] * 0.3
    clicks = (np.random.default_rng(0).standard_normal(len(t)) * (t % 0.5 < 0.02))[:, None] * 0.3
    from melformer.audio.io import Waveform

    still, busy = (features(Waveform(x.astype(np.float32), rate)) for x in (drone, clicks))
    assert set(still) == set(FEATURES)
    assert still["centroid_hz"] == pytest.approx(220, abs=10)
    assert busy["onsets_per_s"] == pytest.approx(2.0, abs=0.35) and still["onsets_per_s"] < 0.5
    assert busy["repetition"] > 0.9
    assert covered(np.array([1.0, 5.0]), np.linspace(0, 2, 100)) == 0.5
