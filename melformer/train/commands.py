"""`melformer train`: material, run folder, task, loop, checkpoint."""

import dataclasses
import json
import os
import platform
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from melformer.config import PRESETS, Config
from melformer.data.beat_dataset import cache_beats, material_sources
from melformer.data.fresh import FreshBeats, FreshTokens
from melformer.data.tokens import token_facts, tokenise, write_tokens
from melformer.data.unit_dataset import gather_units
from melformer.errors import CheckpointError, RequestError
from melformer.files import atomic_path, only_writer
from melformer.hub import ModelCard, Source, find_bundle, load_bundle, save_bundle
from melformer.hub.bundle import half_precision
from melformer.hub.parts import load_pointer, load_separator
from melformer.stems.separator import SEPARATORS
from melformer.train.checkpoint import told_when_full
from melformer.train.codec import CodecTask
from melformer.train.distributed import barrier, join_processes
from melformer.train.options import OPTIONS, TrainOptions
from melformer.train.pointer import PointerTask
from melformer.train.pretrained import load_codec, load_transformer, read_codec, where_shapes_agree
from melformer.train.previews import continued
from melformer.train.separator import SeparatorTask, gather
from melformer.train.tracker import check_tracker
from melformer.train.trainer import Trainer
from melformer.train.transformer import TransformerTask
from melformer.transformer.pointer import POINTERS

__all__ = ["load_codec", "train", "train_tokens"]
HOURS = {"base": 3.0, "tiny": 0.05, "large": 100.0}


def train(args: Namespace) -> None:
    """Run or resume one stage. Errors: RequestError, ConfigError, CheckpointError."""
    run = Path(args.resume or args.out)
    plan = _read_plan(run) if args.resume else _new_plan(args, run)
    if plan["threads"]:
        torch.set_num_threads(plan["threads"])
    options = TrainOptions(**plan["options"])
    if options.track:
        check_tracker()
    rank, _ = join_processes()
    with nullcontext() if rank else only_writer(run):
        if rank == 0:
            if not args.resume:
                _write_plan(plan, run)
            with told_when_full(run, 0):
                _prepare(plan, run)
        barrier()
        task = _task(plan, run, options)
        trainer = Trainer(task, options, run)
        if args.resume and (run / "state.pt").exists():
            trainer.resume()
        trainer.fit()


def _new_plan(args: Namespace, run: Path) -> dict[str, Any]:
    if (run / "state.pt").exists():
        raise RequestError(f"{run} is a run already: go on with it by `--resume {run}`, or give another folder by -o.")
    base = OPTIONS[args.stage, args.preset]
    given = {f.name: getattr(args, f.name) for f in dataclasses.fields(base) if getattr(args, f.name) is not None}
    config = PRESETS[args.preset].to_dict()
    start: dict[str, Any] = {"codec": None, "tokens": None, "init": args.init}
    if args.stage == "transformer":
        start = _transformer_start(args, config)
    elif args.stage == "codec":
        start["partly"] = args.partly
        if args.init and not args.partly:
            config["codec"] = read_codec(args.init).config.to_dict()["codec"]
    return {
        "stage": args.stage, "config": config, "options": dataclasses.asdict(dataclasses.replace(base, **given)),
        "preset": args.preset, "fresh": getattr(args, "fresh", False),
        "hours": args.hours or min(HOURS[args.preset], 0.25 if getattr(args, "fresh", False) else 1e9),
        "data": args.data or [], "threads": args.threads or 0, "cache": args.cache or str(run / "beats"), **start,
    }  # fmt: skip


def _transformer_start(args: Namespace, config: dict[str, Any]) -> dict[str, Any]:
    """Codec, tokens and first weights of a transformer run; `config` gets the sizes that come with them."""
    codec = args.codec
    if codec is None and args.tokens:
        codec = token_facts(Path(args.tokens))["codec"]
    codec = codec or args.init or "runs/codec/checkpoint"
    config["codec"] = read_codec(codec).config.to_dict()["codec"]
    if args.init:
        config["transformer"] = load_bundle(args.init).config.to_dict()["transformer"]
    return {"codec": codec, "tokens": args.tokens, "init": args.init}


def _write_plan(plan: dict[str, Any], run: Path) -> None:
    with atomic_path(run / "plan.json") as temporary:
        temporary.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")


def _read_plan(run: Path) -> dict[str, Any]:
    try:
        return json.loads((run / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{run} is no training run that can be resumed: {error}") from error


def _prepare(plan: dict[str, Any], run: Path) -> None:
    """Compose a corpus where no material was given, and write its beats (and tokens)."""
    if plan.get("tokens"):
        token_facts(Path(plan["tokens"]), read_codec(plan["codec"]).codec)
        return
    if not plan["data"]:
        from melformer.corpus import build

        if not (run / "corpus").exists():  # half a corpus would be another one, so it gets its name at the end
            with_stems = plan["stage"] in ("separator", "pointer")
            build(run / "corpus.unfinished", plan["hours"], plan["options"]["seed"], 1, stems=with_stems)
            os.replace(run / "corpus.unfinished", run / "corpus")
        plan["data"] = [str(run / "corpus")]
        _write_plan(plan, run)
    cache = Path(plan["cache"])
    if plan["stage"] == "separator":
        gather(_folders(plan), cache)
        return
    if plan["stage"] == "pointer":
        gather_units(_folders(plan), cache)
        return
    config = Config.from_dict(plan["config"])
    cache_beats([Path(folder) for folder in plan["data"]], cache, config.codec.work_samples_per_beat)
    if plan["stage"] == "transformer":
        write_tokens(read_codec(plan["codec"]).codec, cache, run / "tokens", bf16=plan["options"]["bf16"])


def _folders(plan: dict[str, Any]) -> list[Path]:
    return [Path(folder) for folder in plan["data"]]


def _separator_task(plan: dict[str, Any], starts: bool, options: TrainOptions) -> SeparatorTask:
    config = SEPARATORS[plan["preset"]]
    given = load_separator(find_bundle(plan["init"])[0]) if starts else None
    task = SeparatorTask(gather(_folders(plan), Path(plan["cache"])), options, given.config if given else config)
    if given is not None:
        task.module.load_state_dict(given.state_dict())
    task.sources = material_sources(_folders(plan))[1]
    return task


def _pointer_task(plan: dict[str, Any], starts: bool, options: TrainOptions) -> PointerTask:
    given = load_pointer(find_bundle(plan["init"])[0]) if starts else None
    clips = gather_units(_folders(plan), Path(plan["cache"]))
    task = PointerTask(clips, options, given.config if given else POINTERS[plan["preset"]])
    if given is not None:
        task.module.load_state_dict(given.state_dict())
    task.sources = material_sources(_folders(plan))[1]
    return task


def _task(plan: dict[str, Any], run: Path, options: TrainOptions) -> Any:
    starts = bool(plan.get("init")) and not (run / "state.pt").exists()
    if plan["stage"] == "separator":
        return _separator_task(plan, starts, options)
    if plan["stage"] == "pointer":
        return _pointer_task(plan, starts, options)
    config = Config.from_dict(plan["config"])
    if plan["stage"] == "codec":
        codec_task = CodecTask(config, Path(plan["cache"]), options)
        if plan.get("fresh"):
            codec_task.train_set = FreshBeats(config.codec.work_samples_per_beat)
        if starts:
            given = read_codec(plan["init"]).codec.state_dict()
            if plan.get("partly"):
                given = where_shapes_agree(given, codec_task.module.state_dict())
            codec_task.module.load_state_dict(given)
        return codec_task
    task = TransformerTask(config, _tokens(plan, run), options)
    if starts:
        load_transformer(task.module.transformer, load_bundle(plan["init"]))
    frozen = read_codec(plan["codec"])
    codec = frozen.codec
    if plan.get("fresh"):
        task.train_set = FreshTokens(codec)

    def export(directory: Path, record: dict[str, Any]) -> None:
        parts = {"codec": codec, "transformer": task.module.transformer}
        tensors: dict[str, torch.Tensor] = {}
        for name, part in parts.items():
            tensors |= half_precision(part.state_dict(), f"{name}.")
        records = {"transformer": record} | ({"codec": frozen.record} if frozen.record else {})
        save_bundle(directory, config, tensors, _card(parts, records, plan).render())

    task.export = export  # type: ignore[method-assign]
    task.clips = lambda: continued(config, codec, task.module.transformer, task.held_out)  # type: ignore[method-assign]
    return task


def _tokens(plan: dict[str, Any], run: Path) -> Path:
    return Path(plan["tokens"]) if plan.get("tokens") else run / "tokens"


def _card(parts: dict[str, Any], records: dict[str, dict[str, Any]], plan: dict[str, Any]) -> ModelCard:
    if plan.get("tokens"):
        facts = token_facts(Path(plan["tokens"]))
        hours, sources = facts.get("hours", 0.0), facts.get("sources", [])
    else:
        hours, sources = material_sources([Path(folder) for folder in plan["data"]])
    own = [Source("Melformer's composition engine", "MIT", hours)] if hours or plan.get("fresh") else []
    from melformer.corpus.midi.notices import NOTICES

    if plan.get("fresh"):
        from melformer.corpus.sound_sources import survey

        sources = sorted({*sources, *((m.source["name"], m.source["licence"]) for m in survey() if m.found)})
    listed = [Source(name, licence, notice=NOTICES.get(name, "")) for name, licence in sources]
    own = own or [Source("Loops of the person who trained it", "not stated")]
    measured = {
        f"{part}, {name.replace('_', ' ')} on held-out loops": value
        for part, record in records.items() for name, value in record.get("validation", {}).items()
    }  # fmt: skip
    return ModelCard(
        name="Melformer base", sources=own + listed,
        evaluation=measured, command="melformer train",
        n_parameters={name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()},
        steps={name: record["steps"] for name, record in records.items()},
        compute={
            name: f"{record['seconds'] / 3600:.2f} h x {record['processes']} process(es)"
            for name, record in records.items()
        },
        machine=f"{platform.machine()}, {torch.get_num_threads()} thread(s) a process", base_model=plan.get("init"),
    )  # fmt: skip


def train_tokens(args: Namespace) -> None:
    """`melformer train tokens`. Errors: RequestError, CheckpointError."""
    if args.workers == 1:
        torch.set_num_threads(1)
    given = args.codec or "runs/codec/checkpoint"
    codec = read_codec(given).codec
    folder = Path(given).expanduser()
    name = str(folder.resolve()) if folder.is_dir() else given
    n_loops = tokenise(codec, [Path(d) for d in args.data], Path(args.out), args.bf16, args.workers, name)
    print(f"{args.out}: {n_loops} loops")
