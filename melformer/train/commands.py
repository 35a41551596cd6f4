"""`melformer train`: material, run folder, task, loop, checkpoint."""

import dataclasses
import json
import os
import platform
from argparse import Namespace
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any

import torch

from melformer.codec.codec import Codec
from melformer.config import PRESETS, Config
from melformer.corpus.midi import MidiFolder
from melformer.data.beat_dataset import cache_beats, material_sources
from melformer.data.fresh import FreshBeats, FreshTokens
from melformer.data.source_pairs import cut_loops, read_pairs
from melformer.data.tokens import token_facts, tokenise
from melformer.data.unit_dataset import UnitClip, gather_units
from melformer.errors import CheckpointError, RequestError
from melformer.files import atomic_path, only_writer, user_path
from melformer.hub import ModelCard, Source, find_bundle, load_bundle, save_bundle
from melformer.hub.bundle import CARD_FILE, half_precision
from melformer.hub.codec_folder import save_codec
from melformer.hub.parts import load_pointer, load_separator
from melformer.stems.separator import SEPARATORS
from melformer.train.checkpoint import told_when_full
from melformer.train.codec import CodecTask
from melformer.train.distributed import barrier, join_processes
from melformer.train.options import OPTIONS, TrainOptions
from melformer.train.pointer import PointerTask
from melformer.train.pretrained import load_transformer, read_codec, where_shapes_agree
from melformer.train.previews import continued
from melformer.train.scorer import ScorerTask
from melformer.train.separator import SeparatorTask, gather
from melformer.train.tempo.tempo_network import TEMPO_NETWORKS
from melformer.train.tempo.tempo_task import DECODER_STEPS, PASSAGES, TempoTask, compose_material
from melformer.train.tracker import check_tracker
from melformer.train.trainer import Trainer
from melformer.train.transformer import TransformerTask
from melformer.transformer.model import BeatTransformer
from melformer.transformer.pointer import POINTERS

_PLAN_TYPES: dict[str, tuple[type, ...]] = {
    "config": (dict,), "options": (dict,), "data": (list,), "hours": (int, float), "threads": (int,),
    "cache": (str, NoneType), "init": (str, NoneType), "codec": (str, NoneType), "tokens": (str, NoneType),
    "fresh": (bool, NoneType), "partly": (bool, NoneType), "midi": (str, NoneType), "passages": (int, NoneType),
    "separator": (str, NoneType),
}  # fmt: skip
_NEEDED = {
    "codec": "cache", "pointer": "cache", "scorer": "codec", "separator": "cache", "tempo": "preset",
    "transformer": "codec",
}  # fmt: skip
"""What a plan of each stage has as text beside."""
HOURS = {"base": 3.0, "tiny": 0.05, "large": 100.0}
SCORER_LOOPS = {"base": 160, "tiny": 8, "large": 480}


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
    starts = {
        "codec": _codec_start, "pointer": _pointer_start, "scorer": _scorer_start, "separator": _stems_start,
        "tempo": _tempo_start, "transformer": _transformer_start,
    }  # fmt: skip
    start = starts[args.stage](args, config)
    return {
        "stage": args.stage, "config": config, "options": dataclasses.asdict(dataclasses.replace(base, **given)),
        "preset": args.preset, "hours": args.hours or min(HOURS[args.preset], 0.25 if start["fresh"] else 1e9),
        "data": args.data or [], "threads": args.threads or 0, **start,
    }  # fmt: skip


def _codec_start(args: Namespace, config: dict[str, Any]) -> dict[str, Any]:
    """First weights of a codec run; `config` gets the sizes that come with them."""
    if args.init and not args.partly:
        config["codec"] = read_codec(args.init).config.to_dict()["codec"]
    cache = args.cache or str(Path(args.out) / "beats")
    return {"init": args.init, "partly": args.partly, "fresh": args.fresh, "cache": cache}


def _stems_start(args: Namespace, config: dict[str, Any]) -> dict[str, Any]:
    """First weights of a run of the separator or the pointer."""
    return {"init": args.init, "fresh": False, "cache": args.cache or str(Path(args.out) / "beats")}


def _pointer_start(args: Namespace, config: dict[str, Any]) -> dict[str, Any]:
    """First weights of a run of the pointer, and whose separator it learns to hear through."""
    return {**_stems_start(args, config), "separator": args.separator}


def _scorer_start(args: Namespace, config: dict[str, Any]) -> dict[str, Any]:
    """The codec that a scorer is trained for, and how many loops are cut in two; `config` becomes the codec's."""
    config.update(read_codec(args.codec).config.to_dict())
    return {"codec": args.codec, "loops": args.loops or SCORER_LOOPS[args.preset], "fresh": False}


def _tempo_start(args: Namespace, config: dict[str, Any]) -> dict[str, Any]:
    """What a run of the beat tracker composes for itself."""
    return {"passages": args.passages or PASSAGES[args.preset], "midi": args.midi, "fresh": False}


def _transformer_start(args: Namespace, config: dict[str, Any]) -> dict[str, Any]:
    """Codec, tokens and first weights of a transformer run; `config` gets the sizes that come with them."""
    codec = args.codec
    if codec is None and args.tokens:
        codec = token_facts(Path(args.tokens))["codec"]
    codec = codec or args.init or "runs/scorer/checkpoint"
    frozen = read_codec(codec)
    if not frozen.has_scorer:
        raise RequestError(
            f"{codec} has no scorer of sources yet: train it with `melformer train scorer --codec {codec} --data …`, "
            "then name what comes out by --codec."
        )
    config["codec"] = frozen.config.to_dict()["codec"]
    if args.init:
        config["transformer"] = load_bundle(args.init).config.to_dict()["transformer"]
    return {"codec": codec, "tokens": args.tokens, "init": args.init, "fresh": args.fresh}


def _write_plan(plan: dict[str, Any], run: Path) -> None:
    with atomic_path(run / "plan.json") as temporary:
        temporary.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")


def _read_plan(run: Path) -> dict[str, Any]:
    """The plan of a run. Errors: CheckpointError when it is missing, damaged, or no plan at all."""
    try:
        plan = json.loads((run / "plan.json").read_text(encoding="utf-8"))
        _check_plan(plan)
    except KeyError as error:
        raise CheckpointError(f"{run} is no training run that can be resumed: its plan lacks {error}.") from error
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{run} is no training run that can be resumed: {error}") from error
    return plan


def _check_plan(plan: Any) -> None:
    """Errors: KeyError, TypeError, ValueError for what `_new_plan` would not have written."""
    if not isinstance(plan, dict):
        raise TypeError(f"its plan is a {type(plan).__name__}")
    if plan["stage"] not in {stage for stage, _ in OPTIONS}:
        raise ValueError(f"its plan has the unknown stage {str(plan['stage'])[:40]!r}")
    for name, kinds in _PLAN_TYPES.items():
        if not isinstance(plan.get(name), kinds):
            raise TypeError(f"its plan's {name} is {str(plan.get(name))[:40]!r}")
    if not all(isinstance(folder, str) for folder in plan["data"]) or not 0 <= plan["threads"] <= 1024:
        raise ValueError("its plan's data or threads are impossible")
    Config.from_dict(plan["config"])
    TrainOptions(**plan["options"])
    needed = _NEEDED[plan["stage"]]
    if not isinstance(plan[needed], str):
        raise TypeError(f"its plan's {needed} is {str(plan[needed])[:40]!r}")


def _prepare(plan: dict[str, Any], run: Path) -> None:
    """Compose a corpus where no material was given, and write its beats (and tokens)."""
    if plan["stage"] == "tempo":
        compose_material(run / "material", plan["passages"], plan["midi"])
        return
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
    folders = _folders(plan)
    if plan["stage"] == "codec":
        cache_beats(folders, Path(plan["cache"]), Config.from_dict(plan["config"]).codec.samples_per_beat)
    elif plan["stage"] == "separator":
        gather(folders, Path(plan["cache"]))
    elif plan["stage"] == "pointer":
        _units(plan)
    elif plan["stage"] == "scorer":
        cut_loops(read_codec(plan["codec"]).codec, folders, plan["loops"], run / "pairs", plan["options"]["seed"])
    else:
        tokenise(read_codec(plan["codec"]).codec, folders, run / "tokens")


def _folders(plan: dict[str, Any]) -> list[Path]:
    return [Path(folder) for folder in plan["data"]]


def _separator_task(plan: dict[str, Any], run: Path, options: TrainOptions) -> SeparatorTask:
    config = SEPARATORS[plan["preset"]]
    starts = plan["init"] and not (run / "state.pt").exists()
    given = load_separator(find_bundle(plan["init"])[0]) if starts else None
    task = SeparatorTask(gather(_folders(plan), Path(plan["cache"])), options, given.config if given else config)
    if given is not None:
        task.module.load_state_dict(given.state_dict())
    task.sources = material_sources(_folders(plan))[1]
    return task


def _pointer_task(plan: dict[str, Any], run: Path, options: TrainOptions) -> PointerTask:
    starts = plan["init"] and not (run / "state.pt").exists()
    given = load_pointer(find_bundle(plan["init"])[0]) if starts else None
    task = PointerTask(_units(plan), options, given.config if given else POINTERS[plan["preset"]])
    if given is not None:
        task.module.load_state_dict(given.state_dict())
    task.sources = material_sources(_folders(plan))[1]
    return task


def _units(plan: dict[str, Any]) -> list[UnitClip]:
    """Passages by their true stems and as separated; prepared where they are not yet."""
    return gather_units(_folders(plan), Path(plan["cache"]), load_separator(find_bundle(plan.get("separator"))[0]))


def _tempo_task(plan: dict[str, Any], run: Path, options: TrainOptions) -> TempoTask:
    preset, midi = plan["preset"], plan["midi"]
    facts = {"passages": plan["passages"], "midi": MidiFolder(midi, 0).source if midi else None}
    return TempoTask(run / "material", options, TEMPO_NETWORKS[preset], DECODER_STEPS[preset], facts)


def _task(plan: dict[str, Any], run: Path, options: TrainOptions) -> Any:
    make = {
        "codec": _codec_task, "pointer": _pointer_task, "scorer": _scorer_task, "separator": _separator_task,
        "tempo": _tempo_task, "transformer": _transformer_task,
    }  # fmt: skip
    return make[plan["stage"]](plan, run, options)


def _codec_task(plan: dict[str, Any], run: Path, options: TrainOptions) -> CodecTask:
    config = Config.from_dict(plan["config"])
    task = CodecTask(config, Path(plan["cache"]), options)
    if plan["fresh"]:
        task.train_set = FreshBeats(config.codec.samples_per_beat)
    if plan["init"] and not (run / "state.pt").exists():
        given = read_codec(plan["init"]).codec.state_dict()
        task.module.load_state_dict(where_shapes_agree(given, task.module.state_dict()) if plan["partly"] else given)
    return task


def _scorer_task(plan: dict[str, Any], run: Path, options: TrainOptions) -> ScorerTask:
    frozen = read_codec(plan["codec"])

    def write(directory: Path, codec: Codec, record: dict[str, Any]) -> None:
        if frozen.records is not None:
            save_codec(directory, frozen.config, codec, frozen.records | {"scorer": record}, with_scorer=True)
            return
        bundle = load_bundle(plan["codec"])  # a whole model: everything but the scorer stays
        scorer = half_precision(codec.scorer.state_dict(), "codec.scorer.")
        card = (bundle.path / CARD_FILE).read_text(encoding="utf-8")
        save_bundle(directory, bundle.config, bundle.tensors | scorer, card)

    return ScorerTask(frozen.codec, read_pairs(run / "pairs"), options, write)


def _transformer_task(plan: dict[str, Any], run: Path, options: TrainOptions) -> TransformerTask:
    config, frozen = Config.from_dict(plan["config"]), read_codec(plan["codec"])
    codec = frozen.codec

    def write(directory: Path, transformer: BeatTransformer, record: dict[str, Any]) -> None:
        parts = {"codec": codec, "transformer": transformer}
        tensors: dict[str, torch.Tensor] = {}
        for name, part in parts.items():
            tensors |= half_precision(part.state_dict(), f"{name}.")
        records = {"transformer": record} | (frozen.records or {})
        save_bundle(directory, config, tensors, _card(parts, records, plan).render())

    task = TransformerTask(
        config, _tokens(plan, run), options, write=write, continued=partial(continued, config, codec)
    )
    if plan["init"] and not (run / "state.pt").exists():
        load_transformer(task.module.transformer, load_bundle(plan["init"]))
    if plan["fresh"]:
        task.train_set = FreshTokens(codec)
    return task


def _tokens(plan: dict[str, Any], run: Path) -> Path:
    return Path(plan["tokens"]) if plan.get("tokens") else run / "tokens"


def _card(parts: dict[str, Any], records: dict[str, dict[str, Any]], plan: dict[str, Any]) -> ModelCard:
    if plan.get("tokens"):
        facts = token_facts(Path(plan["tokens"]))
        hours, sources = facts.get("hours", 0.0), facts.get("sources", [])
    else:
        hours, sources = material_sources([Path(folder) for folder in plan["data"]])
    own = [Source("Melformer's composition engine", "MIT", hours)] if hours or plan["fresh"] else []
    from melformer.corpus.midi.notices import NOTICES

    if plan["fresh"]:
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
        machine=f"{platform.machine()}, {torch.get_num_threads()} thread(s) a process", base_model=plan["init"],
    )  # fmt: skip


def train_tokens(args: Namespace) -> None:
    """`melformer train tokens`. Errors: RequestError, CheckpointError."""
    if args.workers == 1:
        torch.set_num_threads(1)
    given = args.codec or "runs/scorer/checkpoint"
    codec = read_codec(given).codec
    folder = user_path(given)
    name = str(folder.resolve()) if folder.is_dir() else given
    n_loops = tokenise(codec, [Path(d) for d in args.data], Path(args.out), args.workers, name)
    print(f"{args.out}: {n_loops} loops")
