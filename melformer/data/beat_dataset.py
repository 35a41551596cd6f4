"""Datasets: beats of loops for the codec, tokens of beats for the transformer; both memory-mapped."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from melformer.audio.grid import check_bpm, loop_beats, seconds_per_beat
from melformer.audio.io import AUDIO_SUFFIXES, Waveform, audio_files, read_waveform
from melformer.audio.tiaf import read_tiaf
from melformer.data.listing import load_array, read_entries
from melformer.errors import AudioError, RequestError, TempoError, TiafError
from melformer.files import atomic_path, whole_lines

CACHED = ("name", "bpm", "beats_per_bar", "n_beats")
SUFFIXES = (*AUDIO_SUFFIXES, ".tiaf")


@dataclass(frozen=True)
class TrainingClip:
    """One loop: its file, tempo in beats per minute, and beats in a bar."""

    path: Path
    bpm: float
    beats_per_bar: int


def find_clips(folder: Path) -> list[TrainingClip]:
    """Every loop of a folder: as `index.jsonl` lists them, else each audio file with its tempo found.

    Errors: RequestError when there is none, or for a fault in `index.jsonl`.
    """
    index = folder / "index.jsonl"
    if index.exists():
        entries = read_entries(index, ("file", "bpm"))
        clips = [TrainingClip(folder / entry["file"], entry["bpm"], entry.get("beats_per_bar", 4)) for entry in entries]
    else:
        clips = [TrainingClip(path, 0.0, 4) for path in audio_files(folder, deep=True, suffixes=SUFFIXES)]
    if not clips:
        raise RequestError(f"{folder} holds no loops; give a folder of {', '.join(SUFFIXES)} files.")
    return clips


def material_sources(folders: list[Path]) -> tuple[float, list[tuple[str, str]]]:
    """Hours of sound in composed folders, and the sources their indexes name: (name, licence), each once."""
    seconds, sources = 0.0, set()
    for folder in folders:
        if (folder / "index.jsonl").exists():
            for entry in read_entries(folder / "index.jsonl", ("n_beats", "bpm")):
                seconds += entry["n_beats"] * seconds_per_beat(entry["bpm"])
                sources |= {(source["name"], source["licence"]) for source in entry.get("sources", [])}
    return seconds / 3600.0, sorted(sources)


class BeatDataset:
    """Beats of many loops as 16-bit arrays on disk, one `.npy` a loop, made once and then memory-mapped."""

    def __init__(self, cache: Path, held_out: bool, minimum_beats: int) -> None:
        entries = read_entries(cache / "clips.jsonl", CACHED)
        if not entries:
            raise RequestError(f"{cache / 'clips.jsonl'} lists no loops; give a folder that holds some.")
        kept_apart = _held_out({entry["name"] for entry in entries})
        chosen = [e for e in entries if (e["name"] in kept_apart) == held_out and e["n_beats"] >= minimum_beats]
        if not chosen:
            part = "held-out" if held_out else "training"
            raise RequestError(f"{cache} has no {part} loop of {minimum_beats} beats; give more loops.")
        self.cache, self.entries = cache, chosen
        self.weights = np.cumsum([e["n_beats"] for e in chosen]) / sum(e["n_beats"] for e in chosen)

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        """A random loop's entry: long ones more often, in proportion to their beats."""
        return self.entries[int(np.searchsorted(self.weights, rng.random(), side="right"))]

    def crop(self, rng: np.random.Generator, n_beats: int) -> np.ndarray:
        """A random run of whole beats: → float32 (n_beats, samples_per_beat)."""
        entry = self.draw(rng)
        beats = load_array(self.cache / entry["name"], np.int16, 2, max(n_beats, entry["n_beats"]))
        start = int(rng.integers(len(beats) - n_beats + 1))
        return beats[start : start + n_beats].astype(np.float32) / 32_767.0

    def crops(self, rng: np.random.Generator, size: int, n_beats: int) -> np.ndarray:
        """Augmented crops of random loops: → float32 (size, n_beats, samples_per_beat)."""
        return np.stack([roughened(self.crop(rng, n_beats), lambda: self.crop(rng, n_beats), rng) for _ in range(size)])


def roughened(crop: np.ndarray, another: Callable[[], np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """A crop as a recording might have it: with `another` one mixed in, off the beat, louder or softer."""
    if rng.random() < 0.25:
        crop = crop + another() * 10.0 ** rng.uniform(-0.6, 0.0)
    if rng.random() < 0.25:
        crop = np.roll(crop.reshape(-1), int(rng.integers(crop.size))).reshape(crop.shape)
    if rng.random() < 0.1:
        crop = crop + rng.standard_normal(crop.shape).astype(np.float32) * 10.0 ** rng.uniform(-4.0, -2.0)
    peak = max(float(np.abs(crop).max()), 1e-3)
    level = 10.0 ** (rng.uniform(-14.0, 0.0) / 20.0) / peak if rng.random() < 0.6 else min(1.0, 1.0 / peak)
    return (crop * (level * rng.choice([-1.0, 1.0]))).astype(np.float32)


def _held_out(names: set[str]) -> set[str]:
    """About 4% of the loops, whatever their order and whatever is added later; at least one."""
    digests = {name: hashlib.sha256(name.encode()).digest() for name in names}
    chosen = {name for name, digest in digests.items() if digest[0] < 10}
    return chosen or {min(digests, key=lambda name: digests[name])}


def cache_beats(folders: list[Path], cache: Path, samples_per_beat: int, max_s: float = 600.0) -> None:
    """Turn folders of loops into a `BeatDataset` cache; loops already there are not made again.

    Loops that cannot be read or have no clear tempo are left out and named in the progress line.
    """
    cache.mkdir(parents=True, exist_ok=True)
    listing = cache / "clips.jsonl"
    done = set()
    if listing.exists():
        done = {json.loads(line)["name"] for line in whole_lines(listing)}
    clips = [(clip, clip_name(folder, clip)) for folder in folders for clip in find_clips(folder)]
    with open(listing, "a", encoding="utf-8") as file:
        for entry in _cache_each([c for c in clips if c[1] not in done], cache, samples_per_beat, max_s):
            file.write(json.dumps(entry) + "\n")
            file.flush()


def clip_name(folder: Path, clip: TrainingClip) -> str:
    """What a loop is called in caches, from its folder and path: it decides, too, whether the loop is held out."""
    key = hashlib.sha256(f"{folder.resolve()}|{clip.path.relative_to(folder)}".encode()).hexdigest()[:16]
    return f"{key}.npy"


def _cache_each(
    clips: list[tuple[TrainingClip, str]], cache: Path, samples_per_beat: int, max_s: float
) -> Iterator[dict[str, Any]]:
    for clip, name in tqdm(clips, desc="beats", unit="loop", disable=not clips):
        try:
            waveform, bpm = load_clip(clip, max_s)
            beats = loop_beats(waveform, bpm, samples_per_beat)
        except (AudioError, TempoError, TiafError) as error:
            tqdm.write(f"left out: {error}")
            continue
        if len(beats):
            with atomic_path(cache / name) as temporary, open(temporary, "wb") as file:
                np.save(file, np.round(beats.clip(-1.0, 1.0) * 32_767.0).astype(np.int16))
            yield {
                "name": name, "bpm": bpm, "beats_per_bar": clip.beats_per_bar, "n_beats": len(beats),
                "source": clip.path.name,
            }  # fmt: skip


def load_clip(clip: TrainingClip, max_s: float = 600.0) -> tuple[Waveform, float]:
    """A loop's sound on its grid, and its BPM. Errors: AudioError, TempoError, TiafError."""
    if clip.path.suffix.lower() == ".tiaf":
        tiaf = read_tiaf(clip.path)
        return tiaf.to_waveform(), tiaf.bpm
    waveform = read_waveform(clip.path, max_s=max_s)
    if clip.bpm:
        return waveform, check_bpm(clip.bpm)
    from melformer.audio.tempo import find_tempo, fit_loop

    tempo = find_tempo(waveform, path=clip.path)
    return fit_loop(waveform, tempo).waveform, tempo.bpm
