"""What a fine-tune of the pointer on 20 loops of one style brings, and what it costs elsewhere. For measuring only.

    python experiments/2026-11-finetune-pointer/run.py OUT_DIR [--style "balkan brass"] [--minutes 10]

OUT_DIR gets `loops` (20 mixes of 32 beats, of which nothing but their sound and tempo is given), `model` (what
`melformer finetune` makes of them) and `results.json`: nats a half beat, by the notes, of eight other passages of the
style and of twelve passages of the engine, before and after. None of these was learned from.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

from melformer.audio.io import write_waveform
from melformer.corpus import compose, render, render_stems
from melformer.corpus.notes import passage_notes
from melformer.corpus.passage import Passage
from melformer.data.unit_dataset import UnitClip, unit_clip
from melformer.hub.parts import load_pointer, load_separator
from melformer.stems.stems import Stems
from melformer.train.finetune.finetune import finetune
from melformer.train.finetune.result import FinetuneOptions
from melformer.train.finetune.task import mean_nats

N_LOOPS, N_SAME, N_ENGINE, N_BEATS = 20, 8, 12, 32
STYLE_SEED, ENGINE_SEED = 20_000_000, 21_000_000


def heard(passages: Iterable[Passage]) -> list[UnitClip]:
    """Passages through the embedded separator alone, as the product hears them, labelled by their notes."""
    separator, clips = load_separator(Path()), []
    for passage in passages:
        stems, notes = Stems.from_mapping(render_stems(passage)[1]), passage_notes(passage)
        clip = unit_clip(stems, notes, passage.bpm, passage.n_beats, passage.beats_per_bar, separator)
        if clip is not None:
            clips.append(UnitClip(clip.mel[1:], clip.chroma[1:], clip.alike, clip.silent, clip.bpm, clip.bar))
    return clips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="OUT_DIR", type=Path)
    parser.add_argument("--style", default="balkan brass")
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    loops = options.out / "loops"
    loops.mkdir(parents=True, exist_ok=True)
    for seed in range(STYLE_SEED, STYLE_SEED + N_LOOPS):
        passage = compose(seed, options.style, N_BEATS)
        write_waveform(loops / f"{seed}_{passage.bpm:g}bpm.flac", render(passage))
    report = finetune(loops, options.out / "model", None, FinetuneOptions(minutes=options.minutes), yes=True)
    others = range(STYLE_SEED + N_LOOPS, STYLE_SEED + N_LOOPS + N_SAME)
    sets = {
        "same style": heard(compose(seed, options.style, 48) for seed in others),
        "engine": heard(compose(seed, n_beats=48) for seed in range(ENGINE_SEED, ENGINE_SEED + N_ENGINE)),
    }
    pointers = {"before": load_pointer(Path()), "after": load_pointer(options.out / "model")}
    nats = {name: {when: round(mean_nats(p, clips), 4) for when, p in pointers.items()} for name, clips in sets.items()}
    text = json.dumps({"nats a half beat": nats, "report": report}, indent=2)
    (options.out / "results.json").write_text(text + "\n", encoding="utf-8")
    print(json.dumps(nats, indent=2))


if __name__ == "__main__":
    main()
