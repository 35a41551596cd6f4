"""Readers of what models leave behind: configurations, checkpoints, saved streams, beats and tokens for training."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuzz_audio import clicks
from fuzz_damage import Reader, damage, damage_value, json_values, like
from safetensors.numpy import load_file, save_file

from melformer.audio.tempo import find_tempo
from melformer.audio.tempo.tracker_weights import TRACKER_FILE, read_weights
from melformer.config import PRESETS, CodecConfig, Config, TransformerConfig
from melformer.data.beat_dataset import BeatDataset, find_clips, material_sources
from melformer.data.token_dataset import TokenDataset
from melformer.files import shipped_folder
from melformer.generate import Melformer
from melformer.generate.state import StreamState
from melformer.hub.bundle import read_bundle, read_config, save_bundle
from melformer.hub.parts import POINTER_FILE, SEPARATOR_FILE, load_pointer, load_separator, save_part
from melformer.stems.separator import SEPARATORS, Separator
from melformer.train.tempo.tempo_network import TEMPO_NETWORKS, TempoNetwork
from melformer.transformer.pointer import POINTERS, Pointer

# As small as a configuration may be while every part is there: damage reaches every tensor, and building is quick.
SMALL = Config(
    CodecConfig(
        samples_per_beat=6_400, frames_per_beat=16, n_fft=1_200, latent_frames_per_beat=8, n_codebooks=3, n_registers=1,
        codebook_size=8, codebook_dim=2, latent_dim=8, frame_dim=8, n_encoder_layers=1, n_encoder_latent_layers=1,
        n_decoder_layers=1, n_decoder_latent_layers=1, expansion=1, kernel_size=3, n_source_bands=2, source_dim=4,
    ),
    TransformerConfig(
        dim=8, n_layers=1, n_heads=2, n_kv_heads=1, context_beats=8, beat_dim=8, n_beat_layers=1, n_beat_heads=2,
        n_beat_kv_heads=1, embedding_dim=4, pointer_dim=4, hidden_multiple=8, delays=(0, 1, 1), dropout=0.0,
    ),
)  # fmt: skip


def small_model() -> Melformer:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return Melformer(SMALL)


def _prepare_config(folder: Path) -> tuple[Path, bytes, dict[str, Any]]:
    good = PRESETS["tiny"].to_dict()
    return folder / "config.json", json.dumps(good).encode(), good


def _hostile_config(prepared: Any, rng: np.random.Generator) -> Any:
    return damage(prepared[1], rng, 2_000) if rng.random() < 0.4 else damage_value(prepared[2], rng)


def _use_config(prepared: Any, case: Any) -> None:
    prepared[0].write_bytes(case if isinstance(case, bytes) else as_json(case))
    read_config(prepared[0])


def as_json(value: Any) -> bytes:
    try:
        return json.dumps(value).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):  # what JSON cannot say, nobody can send
        return b"null"


def _config_strategy(prepared: Any) -> Any:
    good = prepared[2]
    sections = {name: like(good[name]) for name in ("codec", "transformer")}
    return like(good).flatmap(lambda top: sections["codec"].map(lambda codec: {**top, "codec": codec})) | json_values()


def _prepare_bundle(folder: Path) -> tuple[Path, bytes, dict[str, Any], bytes]:
    save_bundle(folder, SMALL, small_model().state_dict(), "card")
    header, payload = split_safetensors((folder / "model.safetensors").read_bytes())
    return folder, (folder / "config.json").read_bytes(), header, payload


def split_safetensors(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the rest of a safetensors file."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def safetensors_bytes(header: Any, payload: bytes) -> bytes:
    text = as_json(header)
    return struct.pack("<Q", len(text)) + text + payload


def damage_tensors(header: Any, payload: bytes, rng: np.random.Generator) -> bytes:
    """A safetensors file whose bytes, header, or numbers are damaged."""
    kind = rng.random()
    if kind < 0.4:
        return damage(safetensors_bytes(header, payload), rng, 400)
    if kind < 0.7:
        return safetensors_bytes(damage_value(header, rng), payload)
    return safetensors_bytes(header, damage(payload, rng, len(payload)))


def _hostile_bundle(prepared: Any, rng: np.random.Generator) -> tuple[bytes, bytes]:
    """A configuration and tensors: the bytes, the header, or the numbers of the tensors are damaged."""
    config, header, payload = prepared[1:]
    if rng.random() < 0.1:
        return as_json(damage_value(json.loads(config), rng)), safetensors_bytes(header, payload)
    return config, damage_tensors(header, payload, rng)


def _use_bundle(prepared: Any, case: tuple[bytes, bytes]) -> None:
    folder = prepared[0]
    (folder / "config.json").write_bytes(case[0])
    (folder / "model.safetensors").write_bytes(case[1])
    bundle = read_bundle(folder)
    model = Melformer(bundle.config)
    model.load_state_dict({n: t.float() if t.is_floating_point() else t for n, t in bundle.tensors.items()})


def _prepare_parts(folder: Path) -> tuple[Path, dict[str, tuple[dict[str, Any], bytes]], Any]:
    torch.manual_seed(0)
    save_part(folder / POINTER_FILE, Pointer(POINTERS["tiny"]))
    save_part(folder / SEPARATOR_FILE, Separator(SEPARATORS["tiny"]))
    network = {name: value.astype(np.float16) for name, value in TempoNetwork(TEMPO_NETWORKS["tiny"]).arrays().items()}
    shipped = load_file(shipped_folder("checkpoints") / TRACKER_FILE)
    save_file(network | {n: v for n, v in shipped.items() if n.startswith("decoder.")}, folder / TRACKER_FILE)
    names = (POINTER_FILE, SEPARATOR_FILE, TRACKER_FILE)
    return folder, {name: split_safetensors((folder / name).read_bytes()) for name in names}, clicks(2.0, 8_000)


def _hostile_part(prepared: Any, rng: np.random.Generator) -> tuple[str, bytes]:
    """One of pointer, separator and tracker: the bytes, the header, or the numbers of its tensors are damaged."""
    name = sorted(prepared[1])[int(rng.integers(len(prepared[1])))]
    return name, damage_tensors(*prepared[1][name], rng)


def _use_part(prepared: Any, case: tuple[str, bytes]) -> None:
    """Read it; a tracker that is let in finds a tempo, or says that it cannot."""
    name, path = case[0], prepared[0] / case[0]
    path.write_bytes(case[1])
    if name == TRACKER_FILE:
        find_tempo(prepared[2], weights=read_weights(path))
    else:
        (load_pointer if name == POINTER_FILE else load_separator)(prepared[0])


def _prepare_stream(folder: Path) -> tuple[Path, Melformer, dict[str, Any], bytes]:
    model = small_model()
    stream = model.stream(clicks(1.0, 8_000), 4, 1, bpm=120.0, start_s=0.0)
    next(stream)
    stream.state().save(folder / "good")
    header, payload = split_safetensors((folder / "good").read_bytes())
    return folder / "case", model, header, payload


def _hostile_stream(prepared: Any, rng: np.random.Generator) -> bytes:
    """A saved stream: its bytes, header, numbers, or the facts beside the tensors are damaged."""
    header, payload = prepared[2:]
    kind = rng.random()
    if kind < 0.2:
        return damage(safetensors_bytes(header, payload), rng, 400)
    if kind < 0.4:
        return safetensors_bytes(damage_value(header, rng), payload)
    if kind < 0.5:
        return safetensors_bytes(header, damage(payload, rng, len(payload)))
    facts = damage_value(json.loads(header["__metadata__"]["melformer_stream"]), rng)
    return with_facts(header, payload, facts)


def with_facts(header: dict[str, Any], payload: bytes, facts: Any) -> bytes:
    """A saved stream whose facts say something else."""
    return safetensors_bytes({**header, "__metadata__": {"melformer_stream": as_json(facts).decode()}}, payload)


def _use_stream(prepared: Any, case: bytes) -> None:
    path, model = prepared[:2]
    path.write_bytes(case)
    beats = list(model.resume(StreamState.load(path), 2))
    assert len(beats) == 2


def _prepare_tokens(folder: Path) -> tuple[Path, list[dict[str, Any]], bytes, bytes]:
    rng = np.random.default_rng(0)
    np.save(folder / "t.npy", rng.integers(0, 8, (6, 4, 2)).astype(np.uint16))
    np.save(folder / "b.npy", rng.integers(-9_000, 9_000, (6, 64)).astype(np.int16))
    entries = [{"name": f"{name}.npy", "bpm": 120.0, "beats_per_bar": 4, "n_beats": 6} for name in "ab"]
    (folder / "case").mkdir()
    return folder / "case", entries, (folder / "t.npy").read_bytes(), (folder / "b.npy").read_bytes()


def _hostile_tokens(prepared: Any, rng: np.random.Generator) -> tuple[bytes, bytes, bool]:
    """A list of loops and their array, of tokens or of beats."""
    tokens = bool(rng.random() < 0.6)
    array = prepared[2] if tokens else prepared[3]
    kind = rng.random()
    listing = b"".join(as_json(entry) + b"\n" for entry in prepared[1])
    if kind < 0.3:
        listing = damage(listing, rng)
    elif kind < 0.6:
        listing = b"".join(as_json(damage_value(entry, rng)) + b"\n" for entry in prepared[1])
    return listing, array if kind < 0.6 else damage(array, rng), tokens


def _use_tokens(prepared: Any, case: tuple[bytes, bytes, bool]) -> None:
    folder, rng = prepared[0], np.random.default_rng(0)
    (folder / "clips.jsonl").write_bytes(case[0])
    for name in "ab":
        (folder / f"{name}.npy").write_bytes(case[1])
    for held_out in (False, True):
        if case[2]:
            TokenDataset(folder, held_out).batch(rng, 1, 4)
        else:
            BeatDataset(folder, held_out, 2).crop(rng, 2)


def _prepare_index(folder: Path) -> tuple[Path, dict[str, Any]]:
    entry = {"file": "a.flac", "bpm": 120.0, "beats_per_bar": 4, "n_beats": 16, "sources": [
        {"name": "engine", "licence": "MIT"}]}  # fmt: skip
    return folder, entry


def _hostile_index(prepared: Any, rng: np.random.Generator) -> bytes:
    good = as_json(prepared[1]) + b"\n"
    return damage(good, rng) if rng.random() < 0.4 else as_json(damage_value(prepared[1], rng)) + b"\n" + good


def _use_index(prepared: Any, case: bytes) -> None:
    folder = prepared[0]
    (folder / "index.jsonl").write_bytes(case if isinstance(case, bytes) else as_json(case))
    for clip in find_clips(folder):
        clip.path.relative_to(folder)
    material_sources([folder])


READERS = [
    Reader("config", 0.08, _prepare_config, _hostile_config, _use_config, _config_strategy),
    Reader("bundle", 0.06, _prepare_bundle, _hostile_bundle, _use_bundle),
    Reader("parts", 0.06, _prepare_parts, _hostile_part, _use_part),
    Reader("stream", 0.06, _prepare_stream, _hostile_stream, _use_stream, cpu_s=20),
    Reader("tokens", 0.06, _prepare_tokens, _hostile_tokens, _use_tokens),
    Reader("index", 0.06, _prepare_index, _hostile_index, _use_index, lambda p: like(p[1]) | json_values()),
]
