"""The plan of a training run: what its folder says of stage, sizes, options and material."""

import dataclasses
import json
from argparse import Namespace
from pathlib import Path
from types import NoneType
from typing import Any

from melformer.config import PRESETS, Config
from melformer.data.tokens import token_facts
from melformer.errors import CheckpointError, RequestError
from melformer.files import atomic_path
from melformer.hub import load_bundle
from melformer.train.options import OPTIONS, TrainOptions
from melformer.train.pretrained import read_codec
from melformer.train.tempo.tempo_task import PASSAGES

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


def new_plan(args: Namespace, run: Path) -> dict[str, Any]:
    """A plan as the command line asks for it. Errors: RequestError for a run that is there, CheckpointError."""
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


def write_plan(plan: dict[str, Any], run: Path) -> None:
    """Write the plan into the run's folder; whole or not at all."""
    with atomic_path(run / "plan.json") as temporary:
        temporary.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")


def read_plan(run: Path) -> dict[str, Any]:
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
    """Errors: KeyError, TypeError, ValueError for what `new_plan` would not have written."""
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
