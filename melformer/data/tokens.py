"""Tokens of beats: written once by the frozen codec, then streamed from disk by the transformer's training.

A folder of tokens holds shards, `clips.jsonl` and `tokens.json`. A shard is a `.npy` of uint16 (n_beats, frames,
n_codebooks), the codes of many loops one after the other; a line of `clips.jsonl` says in which shard a loop lies,
at which beat it starts, how many beats it has, its BPM and metre. `tokens.json` says which codec wrote them.
"""

import hashlib
import json
import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from melformer.codec.codec import Codec
from melformer.data.beat_dataset import CACHED, TrainingClip, clip_name, find_clips, load_clip, material_sources
from melformer.data.listing import read_entries
from melformer.errors import AudioError, CheckpointError, RequestError, TempoError, TiafError
from melformer.files import atomic_path, only_writer

LOOPS_PER_SHARD = 64
NamedClip = tuple[str, TrainingClip]
Job = tuple[Path, tuple[NamedClip, ...]]
Written = tuple[list[dict[str, Any]], list[str]]


def tokenise(codec: Codec, folders: Sequence[Path], out: Path, workers: int = 1, codec_name: str = "") -> int:
    """Encode every loop of some folders straight from the audio, in `workers` processes; say how many `out` holds.

    What is written already stays as it is, so an interrupted pass goes on, and new loops can be added. Loops that
    cannot be read or have no clear tempo are left out and named. Codes are those of a prompt that is the same loop.
    Errors: RequestError without loops; CheckpointError for tokens of another codec.
    """
    if workers < 1:
        raise RequestError(f"workers is {workers}; it must be at least 1.")
    loops = [(clip_name(folder, clip), clip) for folder in folders for clip in find_clips(folder)]
    with only_writer(out):
        _describe(out, codec, codec_name, folders)
        return _write(codec, loops, out, workers)


def fingerprint(codec: Codec) -> str:
    """A hash of the weights that codes depend on, as a checkpoint keeps them (16-bit floats)."""
    digest = hashlib.sha256()
    for name, tensor in sorted(codec.state_dict().items()):
        if name.startswith(("encoder.", "quantizer.")) and not name.endswith(".usage"):
            digest.update(name.encode() + tensor.half().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def token_facts(folder: Path, codec: Codec | None = None) -> dict[str, Any]:
    """What `tokens.json` says: the codec's name and fingerprint, hours and sources of the material.

    Errors: CheckpointError when there is none, or another codec than `codec` wrote the tokens.
    """
    try:
        facts = json.loads((folder / "tokens.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} holds no tokens of `melformer train tokens`: {error}") from error
    if codec is not None and facts["fingerprint"] != fingerprint(codec):
        raise CheckpointError(
            f"{folder} was written by another codec ({facts['codec'] or 'unnamed'}), whose codes mean something else. "
            "Name that codec, or write tokens into a new folder."
        )
    return facts


def _describe(out: Path, codec: Codec, codec_name: str, folders: Sequence[Path]) -> None:
    """Write `tokens.json`, or add the sources of more material to it."""
    out.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {"codec": codec_name, "fingerprint": fingerprint(codec), "data": []}
    if (out / "tokens.json").exists():
        facts = token_facts(out, codec)
    facts["data"] = sorted({*facts["data"], *(str(folder.resolve()) for folder in folders)})
    present = [Path(folder) for folder in facts["data"] if Path(folder).is_dir()]
    if len(present) == len(facts["data"]):
        facts["hours"], facts["sources"] = material_sources(present)
    with atomic_path(out / "tokens.json") as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _write(codec: Codec, loops: Sequence[NamedClip], out: Path, workers: int) -> int:
    """Encode what is missing, shard by shard; each is listed in one go, after it is whole."""
    listing = out / "clips.jsonl"
    entries = _listed(listing)
    done = {entry["name"] for entry in entries}
    missing = [loop for loop in loops if loop[0] not in done]
    size = min(LOOPS_PER_SHARD, max(1, -(-len(missing) // (4 * workers))))
    jobs = [(out, tuple(missing[i : i + size])) for i in range(0, len(missing), size)]
    with tqdm(total=len(missing), desc="tokens", unit="loop", disable=not missing) as bar:
        for (_, part), (written, left_out) in zip(jobs, _run(codec, jobs, workers)):
            for message in left_out:
                tqdm.write(f"left out: {message}")
            entries += written
            with open(listing, "a", encoding="utf-8") as file:
                file.write("".join(json.dumps(entry) + "\n" for entry in written))
            bar.update(len(part))
    if not entries:
        raise RequestError(f"None of {len(loops)} loops could be written in codes; see what was left out above.")
    return len(entries)


def _listed(listing: Path) -> list[dict[str, Any]]:
    """The lines of `clips.jsonl`; a last one torn by a kill is cut off, and its loops are encoded again."""
    if not listing.exists():
        return []
    text = listing.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        with atomic_path(listing) as temporary:
            temporary.write_text(whole, encoding="utf-8")
    return read_entries(listing, CACHED)


_worker: Codec


def _run(codec: Codec, jobs: Iterable[Job], workers: int) -> Iterator[Written]:
    """The results in the order of the jobs. Workers are spawned: a forked process with threads can hang."""
    if workers == 1:
        for job in jobs:
            yield _write_shard(codec, *job)
        return
    context, remaining = multiprocessing.get_context("spawn"), iter(jobs)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(codec,)) as pool:
        waiting = deque(pool.submit(_work, job) for job in islice(remaining, 2 * workers))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(_work, job) for job in islice(remaining, 1))


def _start(codec: Codec) -> None:
    global _worker
    torch.set_num_threads(1)
    _worker = codec


def _work(job: Job) -> Written:
    return _write_shard(_worker, *job)


def _write_shard(codec: Codec, out: Path, loops: tuple[NamedClip, ...]) -> Written:
    """Encode some loops into one shard: their entries, and why others were left out."""
    codec.eval()
    shard = f"shard-{hashlib.sha256(' '.join(name for name, _ in loops).encode()).hexdigest()[:16]}.npy"
    written, entries, left_out, start = [], [], [], 0
    for name, clip in loops:
        try:
            waveform, bpm = load_clip(clip)
            codes = codec.encode_loop(waveform, bpm).astype(np.uint16)
        except (AudioError, TempoError, TiafError) as error:
            left_out.append(str(error))
            continue
        entries.append({
            "bpm": bpm, "beats_per_bar": clip.beats_per_bar, "source": clip.path.name, "name": name, "shard": shard,
            "start": start, "n_beats": len(codes),
        })  # fmt: skip
        written.append(codes)
        start += len(codes)
    if written:
        with atomic_path(out / shard) as temporary, open(temporary, "wb") as file:
            np.save(file, np.concatenate(written))
    return entries, left_out
