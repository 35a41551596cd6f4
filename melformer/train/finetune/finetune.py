"""`melformer finetune`: a folder of loops in, a checkpoint of one's own out."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from melformer.audio.io import audio_files
from melformer.data.own_loops import OwnLoop, confirmed, doubtful, read_table, sound_of, survey, write_table
from melformer.data.unit_dataset import UnitClip
from melformer.errors import CheckpointError, RequestError
from melformer.evaluate.sets import FIRST_HELD_OUT_SEED
from melformer.files import atomic_path
from melformer.hub import Bundle, load_bundle
from melformer.hub.parts import load_pointer, load_separator
from melformer.train.checkpoint import log_entry
from melformer.train.finetune.material import (
    N_ENGINE,
    N_ENGINE_HELD_OUT,
    Piece,
    engine_clips,
    midi_files_of,
    own_pieces,
    split,
)
from melformer.train.finetune.result import CLIP_SEED, FinetuneOptions, Result, export, write_clips
from melformer.train.finetune.task import FinetuneTask, best_index
from melformer.train.trainer import Trainer
from melformer.transformer.pointer import Pointer

Say = Callable[[str], None]
TABLE, REPORT = "loops.csv", "report.json"


def finetune(
    folder: Path, out: Path, model: str | None = None, options: FinetuneOptions | None = None,
    table: Path | None = None, yes: bool = False, say: Say = print,
) -> dict[str, Any]:  # fmt: skip
    """Teach the pointer of a checkpoint how the loops and MIDI files of a folder go on; write bundle, clips and
    `report.json` to `out`; give the report.

    The same call goes on where it was stopped. After Ctrl-C `out` holds the best so far, or no checkpoint.
    Errors: RequestError when tempi need a look first, or the material is too little; CheckpointError.
    """
    options = options or FinetuneOptions()
    torch.set_num_threads(1)
    if _report(out).get("finished"):
        raise RequestError(f"{out} holds a finished fine-tune; give another -o, or remove it.")
    loops = choose_loops(folder, out, table, yes, say)
    bundle = load_bundle(model)
    _claim(out, options, bundle, loops)
    heard = _gather(bundle, loops, folder, options, out / "run", say)
    pointer = load_pointer(bundle.path)
    task = _task(pointer, heard, options, out / "run" / "best.safetensors")
    trainer = Trainer(task, options.training, out / "run")
    reason = _train(trainer, task, options, say)
    result = Result(options, bundle, model, task.history, trainer.step, trainer.seconds, reason)
    if not result.is_better:
        _explain_failure(result, out, say)
    export(out, result, heard.own, len(heard.engine), pointer, task.best)
    if reason == "stopped":
        say(f"the best so far is in {out}; the same command goes on from here")
        raise KeyboardInterrupt
    report = result.report
    named = {piece.name for piece in heard.held_out}
    chosen = next((loop for loop in loops if loop.file in named), None)
    if chosen is not None:
        write_clips(out, bundle, sound_of(chosen, folder), chosen)
        report |= {"clip_of": chosen.file, "clip_seed": CLIP_SEED}
    _write_json(out / REPORT, report | {"finished": True})
    shutil.rmtree(out / "run")
    return report


@dataclass(frozen=True)
class _Heard:
    """All own pieces, what is learned from and held out of them, the engine's passages, and its held-out ones."""

    own: list[Piece]
    learned: list[Piece]
    held_out: list[Piece]
    engine: list[UnitClip]
    elsewhere: list[UnitClip]


def _gather(
    bundle: Bundle, loops: list[OwnLoop], folder: Path, options: FinetuneOptions, run: Path, say: Say
) -> _Heard:
    """Everything in units; kept in `run`. Errors: RequestError for too little."""
    separator, cache = load_separator(bundle.path), run / "units"
    own = own_pieces(loops, folder, separator, cache, say)
    learned, held_out = split(own)
    bars = [sum(clip.n_units // clip.bar for piece in part for clip in piece.clips) for part in (learned, held_out)]
    say(f"{bars[0]} bars of {len(own)} loops to learn from, {bars[1]} held out; at most {options.minutes:g} minutes")
    engine = engine_clips(separator, options.seed, N_ENGINE if options.engine_share else 0, cache)
    return _Heard(
        own, learned, held_out, engine, engine_clips(separator, FIRST_HELD_OUT_SEED, N_ENGINE_HELD_OUT, cache)
    )


def _task(pointer: Pointer, heard: _Heard, options: FinetuneOptions, best: Path) -> FinetuneTask:
    learned, held_out = ([clip for piece in part for clip in piece.clips] for part in (heard.learned, heard.held_out))
    return FinetuneTask(
        pointer, learned, heard.engine, held_out, heard.elsewhere, options.engine_share, options.training, best
    )


def choose_loops(folder: Path, out: Path, table: Path | None, yes: bool, say: Say) -> list[OwnLoop]:
    """The loops and tempi to use. Without a table of the user's, one is written to `out`.

    Errors: RequestError when there is something for the user to look at first.
    """
    if table is not None:
        return read_table(table, folder)
    if midi_files_of(folder) and not audio_files(folder, deep=True):
        return []
    loops, left_out = survey(folder)
    for message in left_out:
        say(f"left out: {message}")
    write_table(out / TABLE, loops)
    unsure = doubtful(loops)
    for loop in unsure:
        say(f"to check: {loop.file}: {loop.bpm:g} BPM ({loop.source}, {loop.confidence:.0%}), "
            f"first beat at {loop.start_s:g} s: {loop.check}")  # fmt: skip
    if unsure and not yes:
        raise RequestError(
            f"{len(unsure)} of {len(loops)} loops need a look: correct them at the top of {out / TABLE} (remove "
            f"those you do not want), then run this again with --csv {out / TABLE}, or with --yes if all is right."
        )
    return confirmed(loops)


def _claim(out: Path, options: FinetuneOptions, bundle: Bundle, loops: list[OwnLoop]) -> None:
    """Note what this run is made of; a run of something else in the same place is not to be continued."""
    lines = sorted([loop.file, loop.bpm, loop.start_s, loop.beats_per_bar] for loop in loops)
    plan = {"options": asdict(options), "base": [str(bundle.path), bundle.revision], "loops": lines}
    path = out / "run" / "plan.json"
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != json.loads(json.dumps(plan)):
        raise RequestError(f"{out / 'run'} was begun with other loops or options; remove it, or give another -o.")
    _write_json(path, plan)


def _train(trainer: Trainer, task: FinetuneTask, options: FinetuneOptions, say: Say) -> str:
    """Train until it is enough, and say why it ended: "steps", "minutes", "best" or "stopped" (Ctrl-C)."""
    try:
        _begin(trainer, task)
        first = task.history[0]
        say(
            f"before: {first['own']:.3f} nats a half beat on your held-out loops, {first['engine']:.3f} on the engine's"
        )
        while True:
            if (reason := _is_enough(trainer, task, options)) is not None:
                return reason
            trainer.fit(trainer.step + options.validate_every)
            now = task.history[-1]
            mark = " (best)" if best_index(task.history) == len(task.history) - 1 else ""
            say(f"step {trainer.step}: {now['own']:.3f} and {now['engine']:.3f}{mark}")
    except KeyboardInterrupt:
        return "stopped"


def _is_validation(entry: dict[str, Any], step: int) -> bool:
    """Whether a log's line is a validation of `step` or earlier."""
    losses = entry.get("validation")
    has_both = isinstance(losses, dict) and all(isinstance(losses.get(name), int | float) for name in ("own", "engine"))
    return has_both and entry["step"] <= step


def _begin(trainer: Trainer, task: FinetuneTask) -> None:
    """Measure the base, or go on with a run: its validations are read back from the log."""
    log = trainer.run / "log.jsonl"
    if (trainer.run / "state.pt").exists():
        trainer.resume()
        whole, _, _ = log.read_text(encoding="utf-8").rpartition("\n")
        entries = [entry for line in whole.splitlines() if (entry := log_entry(line)) is not None]
        task.history = [entry["validation"] for entry in entries if _is_validation(entry, trainer.step)]
        if not task.history:
            raise CheckpointError(f"{log} holds no validation to go on from. Start again in another folder.")
        return
    log.unlink(missing_ok=True)
    with open(log, "a", encoding="utf-8") as file:
        file.write(json.dumps({"step": 0, "validation": task.validate()}) + "\n")


def _is_enough(trainer: Trainer, task: FinetuneTask, options: FinetuneOptions) -> str | None:
    if trainer.step >= options.steps:
        return "steps"
    if trainer.seconds >= 60.0 * options.minutes:
        return "minutes"
    return "best" if len(task.history) - 1 - best_index(task.history) >= options.patience else None


def _explain_failure(result: Result, out: Path, say: Say) -> None:
    """Errors: RequestError where nothing got better; KeyboardInterrupt where nothing had the time to."""
    if result.reason == "stopped":
        say(f"nothing is better than the base yet; the same command goes on, and {out} holds no checkpoint")
        raise KeyboardInterrupt
    first = result.history[0]
    raise RequestError(
        f"After {result.steps} steps no state was better on the held-out loops ({first['own']:.3f} nats before) "
        f"and about as good elsewhere; {out} holds no checkpoint. Give more loops of one kind, or a lower --lr than "
        f"{result.options.training.lr:g}."
    )


def _report(out: Path) -> dict[str, Any]:
    path = out / REPORT
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _write_json(path: Path, values: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
