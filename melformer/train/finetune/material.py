"""What a fine-tune hears: the musician's loops in codes, and passages of the engine against forgetting."""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from melformer.audio.waveform import Waveform
from melformer.codec.codec import Codec
from melformer.data.own_loops import OwnLoop, beats_of
from melformer.data.tokens import fingerprint
from melformer.errors import MelformerError, RequestError
from melformer.files import atomic_path
from melformer.train.finetune.task import CodedLoop

MIN_BEATS, MIN_LOOP_BEATS = 128, 4
GAINS = (1.0, 0.6, -0.8)
"""Versions of a loop: as it is, 4.4 dB softer, 1.9 dB softer and upside down. They sound alike and differ in codes."""
N_ENGINE, N_ENGINE_HELD_OUT, HELD_OUT_BEATS = 40, 8, 16


def own_material(
    codec: Codec, loops: Sequence[OwnLoop], folder: Path, cache: Path, say: Callable[[str], None]
) -> list[CodedLoop]:
    """The loops in codes. Errors: RequestError, saying how much is needed, when they are too little to learn from."""

    def make() -> list[CodedLoop]:
        made = []
        for loop in tqdm(loops, desc="your loops", unit="loop"):
            try:
                beats = beats_of(loop, folder, codec.config.samples_per_beat)
            except MelformerError as error:
                say(f"left out: {loop.file}: {error}")
                continue
            if len(beats) < MIN_LOOP_BEATS:
                say(f"left out: {loop.file}: it has {len(beats)} of the {MIN_LOOP_BEATS} model beats that are needed.")
                continue
            versions = tuple(codec.encode(torch.from_numpy(beats * gain)).numpy().astype(np.uint16) for gain in GAINS)
            made.append(CodedLoop(loop.file, versions[0], loop.bpm, loop.beats_per_bar, versions))
        _check_enough(made, folder)
        return made

    key = [[loop.file, loop.bpm, loop.start_s, loop.beats_per_bar, _stamp(folder / loop.file)] for loop in loops]
    return _kept(cache, [fingerprint(codec), GAINS, key], make)


def engine_material(codec: Codec, n_passages: int, cache: Path, seed: int) -> list[CodedLoop]:
    """Passages of the engine to learn from beside one's own loops, composed here and now."""

    def make() -> list[CodedLoop]:
        from melformer.corpus import iterate

        passages = tqdm(islice(iterate(seed), n_passages), desc="engine", total=n_passages)
        return [
            coded(codec, f"engine {passage.seed}", sound, passage.bpm, passage.beats_per_bar)
            for passage, sound in passages
        ]

    return _kept(cache, [fingerprint(codec), n_passages, seed], make) if n_passages else []


def engine_held_out(codec: Codec, cache: Path) -> list[CodedLoop]:
    """Passages that no weight of the shipped checkpoint saw (seeds from 10,000,000 on), to see what is forgotten."""

    def make() -> list[CodedLoop]:
        from melformer.evaluate.sets import engine_loops

        clips = tqdm(engine_loops(N_ENGINE_HELD_OUT, HELD_OUT_BEATS), desc="held out", total=N_ENGINE_HELD_OUT)
        return [coded(codec, clip.name, clip.waveform, clip.bpm, 4) for clip in clips]

    return _kept(cache, [fingerprint(codec), N_ENGINE_HELD_OUT, HELD_OUT_BEATS], make)


def coded(codec: Codec, name: str, sound: Waveform, bpm: float, beats_per_bar: int) -> CodedLoop:
    """A sound that starts on a beat, in codes."""
    return CodedLoop(name, codec.encode_loop(sound, bpm).astype(np.uint16), bpm, beats_per_bar)


def _check_enough(loops: Sequence[CodedLoop], folder: Path) -> None:
    n_beats = sum(len(loop.codes) for loop in loops)
    if n_beats < MIN_BEATS:
        raise RequestError(
            f"The {len(loops)} usable loops of {folder} have {n_beats} beats (counted at 90 to 180 BPM): too few to "
            f"learn from. Give at least {MIN_BEATS}, about a minute of music; 20 loops of 32 beats are a good start."
        )


def _stamp(path: Path) -> list[int]:
    facts = path.stat() if path.exists() else None
    return [facts.st_size, facts.st_mtime_ns] if facts else []


def _kept(cache: Path, key: Any, make: Callable[[], list[CodedLoop]]) -> list[CodedLoop]:
    """What `make` gives, kept in an `.npz` (plain arrays and JSON) until `key` changes."""
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()
    if cache.exists():
        with np.load(cache, allow_pickle=False) as file:
            facts = json.loads(str(file["facts"]))
            if facts["key"] == digest:
                return [_unpacked(entry, [file[name] for name in entry["arrays"]]) for entry in facts["loops"]]
    loops, entries = make(), []
    arrays: dict[str, np.ndarray] = {}
    for i, loop in enumerate(loops):
        own = {f"{i}_{k}": codes for k, codes in enumerate(loop.versions or (loop.codes,))}
        arrays |= own
        entries.append({"name": loop.name, "bpm": loop.bpm, "beats_per_bar": loop.beats_per_bar, "arrays": list(own)})
    arrays["facts"] = np.array(json.dumps({"key": digest, "loops": entries}))
    packed = io.BytesIO()  # an older numpy that cannot finish a file complains of it once more when it is forgotten
    np.savez(packed, allow_pickle=False, **arrays)
    with atomic_path(cache) as temporary:
        temporary.write_bytes(packed.getvalue())
    return loops


def _unpacked(entry: dict[str, Any], arrays: list[np.ndarray]) -> CodedLoop:
    versions = tuple(arrays) if len(arrays) > 1 else ()
    return CodedLoop(entry["name"], arrays[0], entry["bpm"], entry["beats_per_bar"], versions)
