"""What a fine-tune on 20 loops of one kind brings, and what it costs elsewhere. For measuring only.

    python experiments/2026-11-finetune/run.py OUT_DIR [--material style|pack|drums|ALBUM] [options]

`style` is 20 loops of 32 beats of a style that every corpus leaves out (`corpus/styles_held_out.py`), each with its own
tempo, key and sounds. A `pack` is the same with one kit, one set of sounds and one tempo, as the loops of one
musician have them, and `drums` are the drums of that. Their seeds are never trained on.

An ALBUM (freedroidrpg, hedgewars, hyperrogue) is 20 stretches of 32 beats of Debian's game music (GPL or CC-BY-SA:
nothing of it, and no weight that heard it, is ever published), never the stretches of `melformer.evaluate.sets`.
The other options are those of `melformer finetune`.

OUT_DIR/MATERIAL gets `loops`, `same` (other loops of the style or pack; other stretches of the album's tracks), `other`
(tracks that the loops have nothing of), `model` (what `melformer finetune` makes of `loops`) and `demo.json`: bits per
beat of each, and of passages of the engine, before and after: all of them loops that the fine-tune neither learned from
nor chose its best state by. Run it again and it goes on.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from melformer.audio.grid import BeatGrid
from melformer.audio.io import read_waveform
from melformer.audio.waveform import Waveform
from melformer.corpus.styles.table import HELD_OUT
from melformer.evaluate.sets import N_CLIP_BEATS, EvaluationClip, engine_loops, on_grid, read_clip, write_clips
from melformer.files import atomic_path
from melformer.generate import Melformer
from melformer.train.finetune.finetune import finetune
from melformer.train.finetune.material import coded
from melformer.train.finetune.result import FinetuneOptions
from melformer.train.finetune.task import mean_bits

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from choose_clips import refined

if TYPE_CHECKING:
    from melformer.corpus.passage import Part

ALBUMS = {"freedroidrpg": "/freedroidrpg/", "hedgewars": "/hedgewars/", "hyperrogue": "/hyperrogue/"}
N_LOOPS, N_SAME, N_OTHER, N_ENGINE = 20, 8, 8, 12
STYLE_SEED, ENGINE_SEED = 20_000_000, 21_000_000
MAX_OFF_GRID_S, MAX_BPM_CHANGE = 0.008, 0.002


def stretches(fact: dict[str, Any]) -> Iterator[EvaluationClip]:
    """Stretches of a track that lie before and after its evaluation clip on the same grid, and are on it."""
    waveform = read_waveform(fact["track"])
    period = 60.0 / fact["bpm"]
    length = period * N_CLIP_BEATS
    first, last = (int(x // length) for x in (-fact["start_s"], waveform.duration_s - fact["start_s"]))
    for k in range(first, last + 1):
        begin = fact["start_s"] + k * length
        if k == 0 or begin < 0 or begin + 1.02 * length > waveform.duration_s:
            continue
        line = refined(waveform, period, begin)
        if line is None or line[2] > MAX_OFF_GRID_S or abs(line[0] / period - 1.0) > MAX_BPM_CHANGE or line[1] < 0:
            continue
        bpm = round(60.0 / line[0], 3)
        start = round(line[1] * waveform.sample_rate)
        stop = start + BeatGrid(bpm, waveform.sample_rate).edge(N_CLIP_BEATS)
        samples = waveform.samples[start:stop].copy()
        if np.sqrt(np.square(samples).mean()) > 0.01:
            name = f"{Path(fact['track']).stem}{'_after' if k > 0 else '_before'}{abs(k)}"
            yield on_grid(name, Waveform(samples, waveform.sample_rate), bpm)


def write_album(album: str, out: Path) -> None:
    """Write `loops`, `same` and `other`; tracks are told apart by their order in the album."""
    facts = json.loads((ROOT / "melformer" / "evaluate" / "real_clips.json").read_text(encoding="utf-8"))
    facts = [f for f in facts if ALBUMS[album] in f["track"] and Path(f["track"]).exists()]
    tracks = [clips for fact in facts if (clips := list(stretches(fact)))]
    apart, known = tracks[2::4], [clips for i, clips in enumerate(tracks) if i % 4 != 2]
    loops = _deal(known, N_LOOPS)
    taken = {clip.name for clip in loops}
    same = _deal([[clip for clip in clips if clip.name not in taken] for clips in known], N_SAME)
    for name, clips in {"loops": loops, "same": same, "other": _deal(apart, N_OTHER)}.items():
        print(f"{name}: {write_clips(clips, out / name)} loops", flush=True)


def _deal(tracks: list[list[EvaluationClip]], n_clips: int) -> list[EvaluationClip]:
    """One clip of each track, then a second of each, … spread over the track's length, until there are enough."""
    spread = [[clips[i] for i in np.argsort([(j * 0.618) % 1.0 for j in range(len(clips))])] for clips in tracks]
    dealt = [clips[i] for i in range(max(map(len, spread), default=0)) for clips in spread if i < len(clips)]
    return dealt[:n_clips]


def write_style(out: Path, style: str, material: str) -> None:
    """Write `loops` and `same`: passages of one style; in a pack the players keep the sounds of the first of them, and
    of `drums` only the drummers play."""
    from melformer.corpus import compose, render

    sounds: dict[str, Part] = {}
    clips = []
    first = compose(STYLE_SEED, style, N_CLIP_BEATS)
    for seed in range(STYLE_SEED, STYLE_SEED + N_LOOPS + N_SAME):
        passage = compose(seed, style, N_CLIP_BEATS)
        if material != "style":
            heard = [part for part in passage.parts if material == "pack" or "kit" in part.params]
            parts = tuple(_as_before(part, sounds) for part in heard)
            passage = replace(passage, parts=parts, bpm=first.bpm, master=first.master)
        clips.append(on_grid(f"{style.replace(' ', '_')}_{seed}", render(passage), passage.bpm))
    for name, part in {"loops": clips[:N_LOOPS], "same": clips[N_LOOPS:]}.items():
        print(f"{name}: {write_clips(part, out / name)} loops", flush=True)
    (out / "other").mkdir()


def _as_before(part: "Part", sounds: "dict[str, Part]") -> "Part":
    """A player with the instrument and settings of the first of that name; drums that are new join the kit."""
    first = sounds.setdefault(part.name, part)
    params = first.params
    if "kit" in params and "kit" in part.params:
        params = {**params, "kit": {**part.params["kit"], **params["kit"]}}
        sounds[part.name] = first = replace(first, params=params)
    return replace(first, events=part.events)


def measure(out: Path, model: str | None) -> dict[str, float]:
    """Bits per beat of a checkpoint on every set that is not learned from, and on 12 passages of the engine."""
    melformer = Melformer.from_pretrained(model)
    sets = {name: list(_clips(out / name)) for name in ("same", "other")}
    sets["engine"] = list(engine_loops(N_ENGINE, 16, ENGINE_SEED))
    found = {}
    for name, clips in sets.items():
        loops = [coded(melformer.codec, clip.name, clip.waveform, clip.bpm, 4) for clip in clips]
        if loops:
            found[name] = round(mean_bits(melformer.transformer, loops), 2)
    return found


def _clips(folder: Path) -> Iterator[EvaluationClip]:
    return (read_clip(path) for path in sorted(folder.glob("*.flac")))


def main() -> None:
    """Write the sets, fine-tune, measure."""
    parser = argparse.ArgumentParser(description="Fine-tune on 20 loops of one kind and measure what it brings.")
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--material", choices=["style", "pack", "drums", *ALBUMS], default="style")
    parser.add_argument("--style", choices=list(HELD_OUT), default=next(iter(HELD_OUT)))
    parser.add_argument("--model", metavar="DIR|REPO")
    for field in fields(FinetuneOptions):
        kind = int if field.type in (int, "int") else float
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, metavar="N")
    arguments = parser.parse_args()
    out = arguments.out_dir / arguments.material
    if not (out / "other").exists():
        if arguments.material in ALBUMS:
            write_album(arguments.material, out)
        else:
            write_style(out, arguments.style, arguments.material)
    given = {f.name: getattr(arguments, f.name) for f in fields(FinetuneOptions)}
    options = FinetuneOptions(**{name: value for name, value in given.items() if value is not None})
    result: dict[str, Any] = {"before": measure(out, arguments.model)}
    if not (out / "model" / "report.json").exists():
        finetune(out / "loops", out / "model", arguments.model, options, yes=True)
    result["after"] = measure(out, str(out / "model"))
    result["change"] = {name: round(result["after"][name] / bits - 1.0, 4) for name, bits in result["before"].items()}
    result["finetune"] = json.loads((out / "model" / "report.json").read_text(encoding="utf-8"))
    with atomic_path(out / "demo.json") as temporary:
        temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({name: result[name] for name in ("before", "after", "change")}))


if __name__ == "__main__":
    main()
