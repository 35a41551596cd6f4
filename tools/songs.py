"""Evaluation set (d): songs that people made, with their true stems.

    python tools/songs.py OUT_DIR --tracks TRACKS_DIR      # OUT_DIR/SONG/{drums,bass,other}.wav
    python tools/songs.py OUT_DIR --choose                 # write the list of excerpts anew
    python tools/songs.py OUT_DIR … --clips CLIPS_DIR      # also mixes of 32 beats, for `melformer evaluate`

The songs are demo projects of LMMS (Debian `lmms` and `lmms-common`, GPL: for measuring only, never for training).
LMMS renders them track by track into TRACKS_DIR, minutes a song; what is there already is not rendered again.
`songs.json` holds facts only: which project, its BPM, which track belongs to which stem, and the excerpts.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from evaluation_sets import N_CLIP_BEATS, write_clips

from melformer.audio.grid import BeatGrid, beats_per_second
from melformer.audio.io import read_waveform, write_waveform
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError, MelformerError, RequestError
from melformer.evaluate.sets import EvaluationClip, on_grid
from melformer.stems import STEMS

FACTS = Path(__file__).parent / "songs.json"
PROJECTS = Path("/usr/share/lmms/projects")
SAMPLE_RATE = 44_100
EXCERPT_S = 12.0
MAX_EXCERPTS = 6  # of one song, or the longest would be the set
SILENT_DB = -40.0  # a stem this far under the mix does not sound
RENDER_TIMEOUT_S = 3600


@dataclass(frozen=True)
class Song:
    """A project of LMMS: where it is, its BPM, and the names of its rendered tracks by stem."""

    name: str
    project: str  # below PROJECTS
    bpm: float
    tracks: dict[str, list[str]]  # a track is named as LMMS numbers it: "3_Strings"


@dataclass(frozen=True)
class SongExcerpt:
    """Twelve seconds of a song in which two stems or more sound."""

    song: str
    start_s: float


def songs() -> list[Song]:
    """The songs of the set."""
    return [Song(**song) for song in json.loads(FACTS.read_text(encoding="utf-8"))["songs"]]


def excerpts() -> list[SongExcerpt]:
    """The excerpts of the set."""
    return [SongExcerpt(**excerpt) for excerpt in json.loads(FACTS.read_text(encoding="utf-8"))["excerpts"]]


def render_tracks(song: Song, folder: Path, program: str = "lmms") -> None:
    """Let LMMS render each track of a song alone, without a screen, as `folder`/NUMBER_NAME.wav.

    Errors: RequestError where LMMS or the project is not installed, or a track is missing afterwards. Its exit status
    says nothing: it may crash on leaving, with every track written.
    """
    wanted = [folder / f"{track}.wav" for tracks in song.tracks.values() for track in tracks]
    if all(path.exists() for path in wanted):
        return
    project = PROJECTS / song.project
    if not project.exists():
        raise RequestError(f"{project} does not exist: install lmms and lmms-common")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        command = [program, "--allowroot", "rendertracks", str(project), "-o", str(folder), "-f", "wav", "-s", "44100"]
        environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "HOME": home}
        try:
            subprocess.run(command, env=environment, capture_output=True, timeout=RENDER_TIMEOUT_S, check=False)
        except FileNotFoundError:
            raise RequestError(f"there is no program {program}: install lmms") from None
    if missing := [path.name for path in wanted if not path.exists()]:
        raise RequestError(f"LMMS did not render {', '.join(missing)} of {song.name}")


def song_stems(song: Song, folder: Path) -> dict[str, Waveform]:
    """Sum a song's rendered tracks to stems of one length; one gain for all keeps their sum below full scale.

    LMMS ends each track with its own tail, so the shorter ones are filled with silence.
    """
    sums: dict[str, np.ndarray] = {}
    tracks = {stem: [read_waveform(folder / f"{name}.wav").samples for name in song.tracks[stem]] for stem in STEMS}
    n_samples = max(len(track) for stem in STEMS for track in tracks[stem])
    for stem in STEMS:
        sums[stem] = np.zeros((n_samples, 2), np.float32)
        for track in tracks[stem]:
            sums[stem][: len(track)] += track
    peak = max(float(np.abs(samples).max()) for samples in (*sums.values(), sum(sums.values())))
    gain = np.float32(min(1.0, 0.98 / max(peak, 1e-9)))
    return {stem: Waveform(samples * gain, SAMPLE_RATE) for stem, samples in sums.items()}


def choose_excerpts(song: Song, stems: dict[str, Waveform]) -> list[SongExcerpt]:
    """Twelve seconds each from bar lines on, not overlapping, spread over the song, two stems or more sounding."""
    bar_s = 4 * 60.0 / song.bpm
    step = int(np.ceil(EXCERPT_S / bar_s)) * bar_s
    n_steps = int((stems["drums"].duration_s - EXCERPT_S) / step) + 1
    found = [
        SongExcerpt(song.name, round(k * step, 3))
        for k in range(n_steps)
        if len(sounding({s: cut(w, k * step) for s, w in stems.items()})) > 1
    ]
    if len(found) <= MAX_EXCERPTS:
        return found
    return [found[i] for i in np.linspace(0, len(found) - 1, MAX_EXCERPTS).round().astype(int)]


def song_clips(song: Song, stems: dict[str, Waveform]) -> Iterator[EvaluationClip]:
    """Mixes of 32 beats one after another, spread over the song, two stems or more sounding in both halves."""
    n_beats = int(stems["drums"].duration_s * beats_per_second(song.bpm))
    edges = BeatGrid(song.bpm, SAMPLE_RATE).edges(n_beats)[:: N_CLIP_BEATS // 2]
    found = []
    for first, middle, last in zip(edges[::2], edges[1::2], edges[2::2]):
        halves = [{n: w.slice(*half) for n, w in stems.items()} for half in ((first, middle), (middle, last))]
        if all(len(sounding(half)) > 1 for half in halves):
            found.append((first, last))
    for i in sorted({round(k) for k in np.linspace(0, len(found) - 1, min(len(found), MAX_EXCERPTS))}):
        mix = sum(stem.samples[slice(*found[i])] for stem in stems.values())
        yield on_grid(f"{song.name}_{i}", Waveform(mix, SAMPLE_RATE), song.bpm)


def cut(waveform: Waveform, start_s: float) -> Waveform:
    """Twelve seconds from `start_s` on."""
    start = round(start_s * waveform.sample_rate)
    return waveform.slice(start, start + round(EXCERPT_S * waveform.sample_rate))


def sounding(stems: dict[str, Waveform]) -> list[str]:
    """The stems that are not more than 40 dB under the sum."""
    energy = {name: float(np.square(stem.samples, dtype=np.float64).sum()) for name, stem in stems.items()}
    mix = sum(stem.samples for stem in stems.values())
    limit = float(np.square(mix, dtype=np.float64).sum()) * 10.0 ** (SILENT_DB / 10.0)
    return [name for name, value in energy.items() if value > limit]


def read_excerpts(folder: str | Path) -> Iterator[tuple[SongExcerpt, float, dict[str, Waveform]]]:
    """Each excerpt of set (d) in `folder`, with its BPM and true stems. Errors: AudioError where there is none."""
    bpm = {song.name: song.bpm for song in songs()}
    listed = [e for e in excerpts() if (Path(folder) / e.song / "drums.wav").exists()]
    if not listed:
        raise AudioError(f"{folder} holds no song of set (d): python tools/songs.py writes them")
    for name in dict.fromkeys(e.song for e in listed):
        stems = {stem: read_waveform(Path(folder) / name / f"{stem}.wav") for stem in STEMS}
        for excerpt in listed:
            if excerpt.song == name:
                yield excerpt, bpm[name], {stem: cut(waveform, excerpt.start_s) for stem, waveform in stems.items()}


def write_songs(out_dir: Path, tracks_dir: Path, choose: bool = False, clips_dir: Path | None = None) -> int:
    """Render, sum and write all songs; with `choose`, write the list of excerpts anew; with `clips_dir`, mixes of 32
    beats into it. Gives the number of songs."""
    chosen: list[SongExcerpt] = []
    for song in songs():
        folder = tracks_dir / song.name
        render_tracks(song, folder)
        stems = song_stems(song, folder)
        chosen += choose_excerpts(song, stems)
        for stem, waveform in stems.items():
            write_waveform(out_dir / song.name / f"{stem}.wav", waveform, bpm=song.bpm, encoding="pcm24")
        if clips_dir is not None:
            write_clips(song_clips(song, stems), clips_dir)
        print(f"{song.name}: {stems['drums'].duration_s:.1f} s")
    if choose:
        write_facts(songs(), chosen)
    return len(songs())


def write_facts(all_songs: list[Song], chosen: list[SongExcerpt]) -> None:
    """Write songs.json, one song or excerpt a line."""
    parts = []
    for key, rows in (("songs", all_songs), ("excerpts", chosen)):
        lines = ",\n".join("  " + json.dumps(asdict(row)) for row in rows)
        parts.append(f' "{key}": [\n{lines}\n ]')
    FACTS.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Write set (d); 2 for a user's mistake."""
    parser = argparse.ArgumentParser(description="Write evaluation set (d): songs with true stems.")
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--tracks", type=Path, required=True, metavar="DIR", help="where LMMS's tracks are kept")
    parser.add_argument("--choose", action="store_true", help="write the list of excerpts in songs.json anew")
    parser.add_argument("--clips", type=Path, metavar="DIR", help="also write mixes of 32 beats into this folder")
    arguments = parser.parse_args(argv)
    try:
        n = write_songs(arguments.out_dir, arguments.tracks, arguments.choose, arguments.clips)
        print(f"{n} songs in {arguments.out_dir}")
    except MelformerError as error:
        print(f"songs: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
