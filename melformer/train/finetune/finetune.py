"""`melformer finetune`: a folder of loops in, a checkpoint of one's own out."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from melformer.data.own_loops import OwnLoop, confirmed, doubtful, read_table, sound_of, survey, write_table
from melformer.errors import CheckpointError, RequestError
from melformer.files import atomic_path
from melformer.generate import Melformer
from melformer.hub import Bundle, load_bundle
from melformer.runtime.packed import use_floats
from melformer.train.checkpoint import log_entry
from melformer.train.finetune.decoder import teach_decoder
from melformer.train.finetune.material import N_ENGINE, engine_held_out, engine_material, own_material
from melformer.train.finetune.result import CLIP_SEED, FinetuneOptions, Result, export, write_clips
from melformer.train.finetune.task import CodedLoop, FinetuneTask, LoopMix, best_index, split
from melformer.train.lora import add_lora
from melformer.train.pretrained import bundle_codec
from melformer.train.trainer import Trainer

Say = Callable[[str], None]
TABLE, REPORT = "loops.csv", "report.json"


def finetune(
    folder: Path, out: Path, model: str | None = None, options: FinetuneOptions | None = None,
    table: Path | None = None, yes: bool = False, say: Say = print,
) -> dict[str, Any]:  # fmt: skip
    """Fine-tune a checkpoint on a folder of loops; write bundle, clips and `report.json` to `out`; give the report.

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
    base = Melformer.from_pretrained(bundle.path)
    heard = _gather(base, loops, folder, options, out / "run", say)
    task, trainer = _prepare(base, heard, options, out / "run")
    reason = _train(trainer, task, options, say)
    result = Result(options, bundle, model, task.history, trainer.step, trainer.seconds, reason)
    if not result.is_better:
        _explain_failure(result, out, say)
    export(out, result, heard.own, heard.engine, task.best, {})
    if reason == "stopped":
        say(f"the best so far is in {out}; the same command goes on from here")
        raise KeyboardInterrupt
    taught: dict[str, float] = {}
    if options.decoder_steps:
        parts, run = (heard.learned, heard.held_out), out / "run" / "decoder"
        decoder, taught = teach_decoder(bundle_codec(bundle), folder, loops, parts, options.decoder_training, run, say)
        export(out, result, heard.own, heard.engine, task.best, decoder)
    chosen = next(loop for loop in loops if loop.file == heard.held_out[0].name)
    write_clips(out, bundle, sound_of(chosen, folder), chosen)
    report = result.report | taught
    _write_json(out / REPORT, report | {"finished": True, "clip_of": chosen.file, "clip_seed": CLIP_SEED})
    shutil.rmtree(out / "run")
    return report


@dataclass(frozen=True)
class _Heard:
    """All of the own loops, what is learned from and held out of them, the engine's passages, and its held-out ones."""

    own: list[CodedLoop]
    learned: list[CodedLoop]
    held_out: list[CodedLoop]
    engine: list[CodedLoop]
    elsewhere: list[CodedLoop]


def _gather(
    base: Melformer, loops: list[OwnLoop], folder: Path, options: FinetuneOptions, run: Path, say: Say
) -> _Heard:
    """Everything in codes; kept in `run`. Errors: RequestError for too little."""
    own = own_material(base.codec, loops, folder, run / "own.npz", say)
    engine = engine_material(base.codec, N_ENGINE if options.engine_share else 0, run / "engine.npz", options.seed)
    learned, held_out = split(own)
    n_own, n_out = (sum(len(loop.codes) - loop.scored_from for loop in part) for part in (learned, held_out))
    say(f"{n_own} beats of {len(own)} loops to learn from, {n_out} held out; at most {options.minutes:g} minutes")
    return _Heard(own, learned, held_out, engine, engine_held_out(base.codec, run / "held_out.npz"))


def _prepare(base: Melformer, heard: _Heard, options: FinetuneOptions, run: Path) -> tuple[FinetuneTask, Trainer]:
    use_floats(base.transformer)  # weights packed to eight bits would be measured as they were, however they change
    if options.lora:
        torch.manual_seed(options.seed)
        add_lora(base.transformer, options.lora)
    mix = LoopMix(heard.learned, heard.engine, options.engine_share)
    parts = (mix, heard.held_out, heard.elsewhere)
    task = FinetuneTask(base.config, base.transformer, *parts, options.training, run / "best.safetensors")
    task.export = lambda directory, record: None  # type: ignore[method-assign]
    return task, Trainer(task, options.training, run)


def choose_loops(folder: Path, out: Path, table: Path | None, yes: bool, say: Say) -> list[OwnLoop]:
    """The loops and tempi to use. Without a table of the user's, one is written to `out`.

    Errors: RequestError when there is something for the user to look at first.
    """
    if table is not None:
        return read_table(table, folder)
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
        say(f"before: {first['own']:.0f} bits a beat on your held-out loops, {first['engine']:.0f} on the engine's")
        while True:
            if (reason := _is_enough(trainer, task, options)) is not None:
                return reason
            trainer.fit(trainer.step + options.validate_every)
            now = task.history[-1]
            mark = " (best)" if best_index(task.history) == len(task.history) - 1 else ""
            say(f"step {trainer.step}: {now['own']:.0f} and {now['engine']:.0f}{mark}")
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
        f"After {result.steps} steps no state was better on the held-out loops ({first['own']:.0f} bits a beat before) "
        f"and about as good elsewhere; {out} holds no checkpoint. Give more loops of one kind, or a lower --lr than "
        f"{result.options.training.lr:g}."
    )


def _report(out: Path) -> dict[str, Any]:
    path = out / REPORT
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _write_json(path: Path, values: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
