"""`melformer train`: material, run folder, task, loop, checkpoint."""

import os
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from melformer.config import Config
from melformer.data.beat_dataset import cache_beats
from melformer.data.source_pairs import cut_loops
from melformer.data.tokens import token_facts, tokenise
from melformer.files import only_writer, user_path
from melformer.train.checkpoint import told_when_full
from melformer.train.distributed import barrier, join_processes
from melformer.train.options import TrainOptions
from melformer.train.plan import new_plan, read_plan, write_plan
from melformer.train.pretrained import read_codec
from melformer.train.tasks.from_plan import folders, task_of, units
from melformer.train.tasks.separator import gather
from melformer.train.tempo.tempo_task import compose_material
from melformer.train.tracker import check_tracker
from melformer.train.trainer import Trainer


def train(args: Namespace) -> None:
    """Run or resume one stage. Errors: RequestError, ConfigError, CheckpointError."""
    run = Path(args.resume or args.out)
    plan = read_plan(run) if args.resume else new_plan(args, run)
    if plan["threads"]:
        torch.set_num_threads(plan["threads"])
    options = TrainOptions(**plan["options"])
    if options.track:
        check_tracker()
    rank, _ = join_processes()
    with nullcontext() if rank else only_writer(run):
        if rank == 0:
            if not args.resume:
                write_plan(plan, run)
            with told_when_full(run, 0):
                _prepare(plan, run)
        barrier()
        task = task_of(plan, run, options)
        trainer = Trainer(task, options, run)
        if args.resume and (run / "state.pt").exists():
            trainer.resume()
        trainer.fit()


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
        write_plan(plan, run)
    material = folders(plan)
    if plan["stage"] == "codec":
        cache_beats(material, Path(plan["cache"]), Config.from_dict(plan["config"]).codec.samples_per_beat)
    elif plan["stage"] == "separator":
        gather(material, Path(plan["cache"]))
    elif plan["stage"] == "pointer":
        units(plan)
    elif plan["stage"] == "scorer":
        cut_loops(read_codec(plan["codec"]).codec, material, plan["loops"], run / "pairs", plan["options"]["seed"])
    else:
        tokenise(read_codec(plan["codec"]).codec, material, run / "tokens")


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
