"""What a fine-tune learns from: own loops and MIDI files in units, and passages of the engine against forgetting."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from melformer.audio.grid import BeatGrid, seconds_per_beat
from melformer.data.own_loops import OwnLoop, sound_of
from melformer.data.sound_units import alikeness_of_sound
from melformer.data.unit_dataset import MAX_UNITS, UnitClip, unit_clip
from melformer.errors import MelformerError, RequestError
from melformer.stems.separate import separate
from melformer.stems.separator import Separator
from melformer.stems.stems import Stems
from melformer.stems.units import UNITS_PER_BEAT, unit_pictures

if TYPE_CHECKING:
    from melformer.corpus.passage import Passage

MIN_BEATS = 128
VERSIONS_OF_MIDI = 4
"""Passages that are made of each MIDI file: other sounds, keys and stretches."""
N_ENGINE, N_ENGINE_HELD_OUT, ENGINE_BEATS = 40, 12, 48
BY_PIECE = 8
"""From so many pieces on, whole pieces are held out; of fewer, the second half of each."""
HELD_OUT_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Piece:
    """A loop or a MIDI file, its passages in units, and the seconds that it holds."""

    name: str
    clips: tuple[UnitClip, ...]
    seconds: float


def own_pieces(
    loops: Sequence[OwnLoop], folder: Path, separator: Separator, cache: Path, say: Callable[[str], None]
) -> list[Piece]:
    """Loops heard through the separator, labelled by sound, and MIDI files played, labelled by their notes.

    Kept in `cache`. Errors: RequestError, saying how much is needed, when they are too little to learn from.
    """
    pieces = []
    for loop in tqdm(loops, desc="your loops", unit="loop", disable=not loops):
        try:
            pieces.append(_of_loop(loop, folder, separator, cache))
        except MelformerError as error:
            say(f"left out: {loop.file}: {error}")
    files = midi_files_of(folder)
    pieces += [_of_midi(path, folder, separator, cache) for path in tqdm(files, desc="MIDI", disable=not files)]
    pieces = [piece for piece in pieces if piece.clips]
    n_beats = sum(clip.n_units for piece in pieces for clip in piece.clips) // UNITS_PER_BEAT
    if n_beats < MIN_BEATS:
        raise RequestError(
            f"The {len(pieces)} usable loops of {folder} have {n_beats} beats (counted at 90 to 180 BPM): too few to "
            f"learn from. Give at least {MIN_BEATS}, about a minute of music; 20 loops of 32 beats are a good start."
        )
    return pieces


def _of_loop(loop: OwnLoop, folder: Path, separator: Separator, cache: Path) -> Piece:
    def make() -> UnitClip:
        waveform = sound_of(loop, folder)
        grid = BeatGrid(loop.bpm, waveform.sample_rate)
        bar = round(loop.beats_per_bar * grid.model_beats_per_beat * UNITS_PER_BEAT)
        n_units = min(MAX_UNITS, int(grid.beats_in(waveform.n_samples) * grid.model_beats_per_beat * UNITS_PER_BEAT))
        if n_units < 2 * bar:
            raise RequestError(f"it has {n_units / bar:.3g} of the 2 bars that are needed.")
        stems = separate(waveform, loop.bpm, separator)
        pictures = unit_pictures(np.stack([s.samples.mean(axis=1) for s in stems]), grid, n_units)
        alike, silent = alikeness_of_sound(pictures)
        mel, chroma = pictures.mel.astype(np.float16)[None], pictures.chroma[None]
        halves = np.zeros((2 * n_units, 2 * n_units), np.int8)  # their sound tells too little
        return UnitClip(mel, chroma, alike, silent, halves, grid.model_bpm, bar)

    path = folder / loop.file
    clip = _kept(cache, [loop.file, loop.bpm, loop.start_s, loop.beats_per_bar, *_stamp(path)], make)
    assert clip is not None
    return Piece(loop.file, (clip,), clip.n_units / UNITS_PER_BEAT * seconds_per_beat(clip.bpm))


def midi_files_of(folder: Path) -> list[Path]:
    """Every MIDI file under a folder."""
    from melformer.corpus.midi.folder import SUFFIXES

    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def _of_midi(path: Path, folder: Path, separator: Separator, cache: Path) -> Piece:
    from melformer.corpus.build import passage_seed
    from melformer.corpus.midi import MidiFolder

    file = MidiFolder(path, 0)
    passages = [file.passage(i, passage_seed(0, i)) for i in range(VERSIONS_OF_MIDI)]
    keys = [[str(path), i, *_stamp(path)] for i in range(VERSIONS_OF_MIDI)]
    clips = [_kept(cache, key, partial(_of_passage, p, separator)) for key, p in zip(keys, passages)]
    seconds = sum(passage.duration_s for passage in passages)
    return Piece(path.relative_to(folder).as_posix(), tuple(clip for clip in clips if clip is not None), seconds)


def engine_clips(separator: Separator, first_seed: int, n_clips: int, cache: Path) -> list[UnitClip]:
    """Passages of the engine, composed here and now, of seeds from `first_seed` on; kept in `cache`."""
    from melformer.corpus import compose

    def composed(seed: int) -> UnitClip | None:
        return _of_passage(compose(seed, n_beats=ENGINE_BEATS), separator)

    made = (_kept(cache, ["engine", seed], partial(composed, seed)) for seed in count(first_seed))
    long = (clip for clip in made if clip is not None)
    return list(tqdm(islice(long, n_clips), desc="engine", total=n_clips, unit="passage", disable=not n_clips))


def _of_passage(passage: "Passage", separator: Separator) -> UnitClip | None:
    """A passage heard true and separated, labelled by its notes."""
    from melformer.corpus import render_stems
    from melformer.corpus.notes import passage_notes

    stems, notes = Stems.from_mapping(render_stems(passage)[1]), passage_notes(passage)
    return unit_clip(stems, notes, passage.bpm, passage.n_beats, passage.beats_per_bar, separator)


def _kept(cache: Path, key: list[Any], make: Callable[[], UnitClip | None]) -> UnitClip | None:
    """What `make` gives, kept in a file named after its key."""
    path = cache / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.npz"
    if path.exists():
        return UnitClip.load(path)
    clip = make()
    if clip is not None:
        cache.mkdir(parents=True, exist_ok=True)
        clip.save(path)
    return clip


def _stamp(path: Path) -> list[int]:
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns]


def split(pieces: Sequence[Piece]) -> tuple[list[Piece], list[Piece]]:
    """What to learn from and what to hold out: a fifth of the pieces (by name), or of few the second halves.

    Errors: RequestError where few are too short to be halved.
    """
    if len(pieces) >= BY_PIECE:
        order = sorted(pieces, key=lambda piece: hashlib.sha256(piece.name.encode()).digest())
        n_out = max(2, round(HELD_OUT_SHARE * len(pieces)))
        return order[n_out:], order[:n_out]
    train, held_out = [], []
    for piece in pieces:
        middles = [clip.n_units // (2 * clip.bar) * clip.bar for clip in piece.clips]
        long = [(clip, m) for clip, m in zip(piece.clips, middles) if m >= 2 * clip.bar]
        short = tuple(clip for clip, m in zip(piece.clips, middles) if m < 2 * clip.bar)
        train.append(replace(piece, clips=short + tuple(clip.part(0, m) for clip, m in long)))
        if long:
            held_out.append(replace(piece, clips=tuple(clip.part(m, clip.n_units) for clip, m in long)))
    if not held_out:
        raise RequestError(
            f"{len(pieces)} loops of under 4 bars leave nothing to measure what was learned on: give at least "
            f"{BY_PIECE} loops, or longer ones."
        )
    return train, held_out
