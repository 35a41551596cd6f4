"""What fuzzing found: each was another exception, a hang or a wrong answer before, and has its own name now."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz_damage import VALUES
from fuzz_models import SMALL, safetensors_bytes, small_model, split_safetensors, with_facts
from fuzz_page import Page

from melformer.audio.io import Waveform, read_waveform
from melformer.config import PRESETS, Config
from melformer.data.beat_dataset import BeatDataset, find_clips, material_sources
from melformer.data.listing import read_entries
from melformer.data.token_dataset import TokenDataset
from melformer.errors import AudioError, CheckpointError, ConfigError, MelformerError, RequestError
from melformer.generate import GenerationConfig, Melformer, StreamState
from melformer.hub.bundle import read_config
from melformer.ui.takes.exports import export_take

ENTRY = {"name": "a.npy", "bpm": 120.0, "beats_per_bar": 4, "n_beats": 6}
LINES = [
    b'{"name": "a.npy", "bpm\x80', b'{"name": "a.np', b"[1, 2]", b"null", b"[" * 100_000,
    *(json.dumps({**ENTRY, key: value}).encode() for key, value in (
        ("bpm", 0), ("bpm", -1), ("bpm", 10**400), ("bpm", None), ("beats_per_bar", {}), ("beats_per_bar", 0.5),
        ("n_beats", "nan"), ("n_beats", True), ("n_beats", 2**70), ("name", None), ("name", "../a.npy"),
        ("name", "/etc/passwd"), ("name", "..\\a.npy"), ("name", ""), ("start", -1), ("shard", []),
    )),
    *(json.dumps({key: value for key, value in ENTRY.items() if key != gone}).encode() for gone in ENTRY),
]  # fmt: skip


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:70].decode(errors="replace"))
@pytest.mark.parametrize("kind", [BeatDataset, TokenDataset])
def test_lists_of_cached_loops(tmp_path: Path, line: bytes, kind: Any) -> None:
    (tmp_path / "clips.jsonl").write_bytes(line)
    with pytest.raises(RequestError, match=r"clips\.jsonl"):
        kind(tmp_path, False, 2) if kind is BeatDataset else kind(tmp_path, False)


@pytest.mark.parametrize(
    "sources", [1, [1], [{}], [{"name": "engine"}], [{"name": 1, "licence": "MIT"}], None, "engine"]
)
def test_lists_of_composed_loops(tmp_path: Path, sources: Any) -> None:
    entry = {"file": "a.flac", "bpm": 120, "n_beats": 4, "sources": sources}
    (tmp_path / "index.jsonl").write_text(json.dumps(entry))
    with pytest.raises(RequestError, match="line 1: 'sources'"):
        material_sources([tmp_path])


@pytest.mark.parametrize("file", ["/etc/passwd", "../a.wav", "x/../../a.wav", 5, "\0", "."])
def test_a_list_stays_in_its_folder(tmp_path: Path, file: Any) -> None:
    (tmp_path / "index.jsonl").write_text(json.dumps({"file": file, "bpm": 120}))
    with pytest.raises(RequestError, match=r"inside the folder|name a file"):
        find_clips(tmp_path)


@pytest.mark.parametrize("fault", ["header", "cut", "kind", "shape", "rows", "gone"])
def test_arrays_that_are_not_what_their_list_says(tmp_path: Path, fault: str) -> None:
    shape = {"shape": (6, 4, 2), "rows": (5, 64)}.get(fault, (6, 64))
    np.save(tmp_path / "a.npy", np.zeros(shape, np.float32 if fault == "kind" else np.int16))
    (tmp_path / "clips.jsonl").write_text(json.dumps(ENTRY) + "\n" + json.dumps({**ENTRY, "name": "b.npy"}))
    data = (tmp_path / "a.npy").read_bytes()
    damaged = {"header": data[:12] + b"\xff\0(" + data[15:], "cut": data[:200]}
    for name in ("a.npy", "b.npy"):
        (tmp_path / name).write_bytes(damaged.get(fault, data))
        if fault == "gone":
            (tmp_path / name).unlink()
    with pytest.raises(RequestError, match=r"\.npy"):
        BeatDataset(tmp_path, False, 2).crop(np.random.default_rng(0), 2)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Melformer, bytes]:
    model = small_model()
    time_s = np.arange(8_000) / 8_000
    loop = Waveform((0.3 * np.sin(2_000 * time_s)).astype(np.float32), 8_000)
    stream = model.stream(loop, 4, 1, bpm=120.0, start_s=0.0)
    for _ in range(2):
        next(stream)
    path = tmp_path_factory.mktemp("stream") / "good"
    stream.state().save(path)
    return model, path.read_bytes()


def _resume(model: Melformer, path: Path, data: bytes) -> None:
    path.write_bytes(data)
    list(model.resume(StreamState.load(path), 2))


def test_any_fact_of_a_saved_stream_may_be_wrong(saved: tuple[Melformer, bytes], tmp_path: Path) -> None:
    model, data = saved
    header, payload = split_safetensors(data)
    facts = json.loads(header["__metadata__"]["melformer_stream"])
    _resume(model, tmp_path / "good", data)
    for key in facts:
        for value in (*VALUES, {**facts[key], "x": 1} if isinstance(facts[key], dict) else 7):
            changed = with_facts(header, payload, {**facts, key: value})
            if changed != data:
                try:
                    _resume(model, tmp_path / "case", changed)
                except MelformerError:
                    continue


@pytest.mark.parametrize("wrong", [["whole"], [None], [True], [1e12], []], ids=str)
def test_what_a_saved_stream_asks_of_a_stem_is_a_number_for_each(
    saved: tuple[Melformer, bytes], tmp_path: Path, wrong: list[Any]
) -> None:
    model, data = saved
    header, payload = split_safetensors(data)
    facts = json.loads(header["__metadata__"]["melformer_stream"])
    for name in ("variation", "silence", "draws"):
        bar, options = facts["asked"]
        changed = {**facts, "asked": [bar, {**options, name: [*options[name][:-1], *wrong]}]}
        with pytest.raises(RequestError, match=f"its {name} is"):
            _resume(model, tmp_path / "case", with_facts(header, payload, changed))


def test_any_tensor_of_a_saved_stream_may_be_missing_or_another(saved: tuple[Melformer, bytes], tmp_path: Path) -> None:
    model, data = saved
    header, payload = split_safetensors(data)
    for name in header.keys() - {"__metadata__"}:
        shape = header[name]["shape"]
        others = [{key: value for key, value in header.items() if key != name}]
        if len(shape) > 1 and shape[0] != shape[1]:
            others.append({**header, name: {**header[name], "shape": [shape[1], shape[0], *shape[2:]]}})
        for other in others:
            with pytest.raises(MelformerError):
                _resume(model, tmp_path / "case", safetensors_bytes(other, payload))


def test_a_stream_can_be_saved_before_its_first_beat(saved: tuple[Melformer, bytes], tmp_path: Path) -> None:
    model = saved[0]
    time_s = np.arange(8_000) / 8_000
    loop = Waveform((0.3 * np.sin(2_000 * time_s)).astype(np.float32), 8_000)
    stream = model.stream(loop, 2, 1, bpm=120.0, start_s=0.0)
    stream.state().save(tmp_path / "asleep")
    resumed = list(model.resume(StreamState.load(tmp_path / "asleep"), 2))
    for one, other in zip(stream, resumed, strict=True):
        assert np.array_equal(one.waveform.samples, other.waveform.samples)


@pytest.mark.parametrize("value", [10**400, -(10**400), float("nan"), float("inf"), None, True, "1", []])
@pytest.mark.parametrize("name", list(GenerationConfig.__dataclass_fields__))
def test_settings_of_every_kind(name: str, value: Any) -> None:
    if name in ("keep", "mute") and value == []:
        assert getattr(GenerationConfig(**{name: value}), name) == ()
        return
    with pytest.raises(RequestError, match=name):
        GenerationConfig(**{name: value})


def test_wishes_of_the_page_that_are_no_wishes(tmp_path: Path) -> None:
    page = Page(tmp_path)
    token = page.visit()
    strange = (
        {"do": "edit", "order": [0.5] * 4}, {"do": "example", "name": {"path": 0}}, {"do": "load", "path": "a\0b"},
    )  # fmt: skip
    for request in strange:
        answer = page.actions.call({"token": token, **request})
        page.surprise.throw()
        assert answer["error"].endswith(".")


@pytest.mark.parametrize("path", ["\ud800", "a\0b", "x" * 300, "x" * 100_000, "", None, 7, ["a"]])
def test_paths_of_uploads_that_are_none(tmp_path: Path, path: Any) -> None:
    page = Page(tmp_path)
    for wanted in (path, str(page.actions.uploads / str(path))):
        answer = page.actions.call({"token": page.visit(), "do": "load", "path": wanted})
        page.surprise.throw()
        assert answer == {"error": "The upload didn't arrive. Please choose the file again."}, wanted


@pytest.mark.parametrize("delays", [5, None, {}, [0, 1.0, 2], [0, True, 2]])
def test_delays_that_are_no_steps(delays: Any) -> None:
    values = PRESETS["tiny"].to_dict()
    values["transformer"]["delays"] = delays
    with pytest.raises(ConfigError, match=r"transformer\.delays"):
        Config.from_dict(values)


def test_a_number_of_5000_digits(tmp_path: Path) -> None:
    """Python's reader of JSON refuses it with a plain ValueError."""
    path = tmp_path / "config.json"
    path.write_text('{"version": 2, "codec": {"n_codebooks": ' + "9" * 5_000 + "}}")
    with pytest.raises(ConfigError, match="no readable configuration"):
        Config.load(path)
    with pytest.raises(CheckpointError, match="cannot be used"):
        read_config(path)


@pytest.mark.parametrize(
    "head", [b"\xff\xf3\x80d" + bytes(17) + b"Xing", b"\xff\xfb\x90d" + bytes(32) + b"VBRI"], ids=["Xing", "VBRI"]
)
def test_an_mp3_that_ends_within_its_count_of_frames(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(head)
    with pytest.raises(AudioError, match=r"a\.mp3"):
        read_waveform(path)


def test_the_smallest_model_is_a_model() -> None:
    assert SMALL.codec.latent_frames_per_beat < PRESETS["tiny"].codec.latent_frames_per_beat


@pytest.mark.parametrize("line", ['{"name": "\\ud800"}', '{"sources": [{"name": "\\udfff", "licence": "MIT"}]}'])
def test_half_a_character_in_a_list_of_loops(tmp_path: Path, line: str) -> None:
    (tmp_path / "clips.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(RequestError, match="line 1"):
        read_entries(tmp_path / "clips.jsonl", ())


@pytest.mark.parametrize("kind", [[1, 2], {}, None, "exe"])
def test_kinds_of_files_that_are_none(tmp_path: Path, kind: Any) -> None:
    with pytest.raises(RequestError, match="kind must be one of"):
        export_take(None, tmp_path, kind)  # type: ignore[arg-type]  # it does not come to the take
