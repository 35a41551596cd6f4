"""Arguments of `melformer train`; the numbers of a run come from `TrainOptions` itself."""

import dataclasses
from argparse import ArgumentParser, BooleanOptionalAction

from melformer.config import PRESETS
from melformer.train.options import TrainOptions

_HELP = {
    "steps": "optimizer steps in all",
    "batch_size": "passages per process and micro-batch",
    "accumulate": "micro-batches per step",
    "lr": "peak learning rate",
    "decay_fraction": "last part of the run in which the rate falls to nothing",
    "save_every": "steps between saved states",
    "validate_every": "steps between validations",
    "seed": "of everything that is drawn",
    "bf16": "bfloat16 in the network",
    "track": "also write RUN/track for TensorBoard, with clips to hear (needs the extra `track`)",
}


def add_arguments(parser: ArgumentParser, stage: str) -> None:
    """Add what `melformer train STAGE` understands to a parser."""
    if stage == "tempo":
        parser.add_argument("--passages", type=int, metavar="N", help="passages to compose for the network (3,000); "
                            "the decoder takes a quarter as many")  # fmt: skip
        parser.add_argument("--midi", metavar="DIR", help="a folder of MIDI files to learn from as well")
        parser.set_defaults(data=None, hours=None)
    else:
        parser.add_argument("--data", action="append", metavar="DIR", help="a folder of loops"
                            + (" with their stems" if stage in ("separator", "pointer") else "")
                            + "; may be given several times (else a corpus is composed)")  # fmt: skip
        parser.add_argument("--hours", type=float, metavar="H", help="hours to compose where no --data is given")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="base", help="sizes of the model (base)")
    parser.add_argument("-o", "--out", metavar="RUN", default=f"runs/{stage}", help=f"folder of the run (runs/{stage})")
    parser.add_argument("--resume", metavar="RUN", help="go on with a run, with its own options")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of this process (torch decides)")
    if stage == "scorer":
        _add_codec(parser, "runs/codec/checkpoint", default="runs/codec/checkpoint")
        parser.add_argument("--loops", type=int, metavar="N", help="how many loops are cut in two (160)")
    elif stage != "tempo":
        parser.add_argument("--init", metavar="DIR|REPO", help="start from the weights (and sizes) of a checkpoint")
    if stage in ("codec", "transformer"):
        parser.add_argument("--fresh", action="store_true", help="compose new music for every step and hear nothing "
                            "twice; the material then only validates")  # fmt: skip
    if stage in ("codec", "pointer", "separator"):
        parser.add_argument("--cache", metavar="DIR", help="where prepared beats are kept (RUN/beats)")
    if stage == "pointer":
        parser.add_argument("--separator", metavar="DIR|REPO", help="whose separator gives the stems that are learned "
                            "from beside the true ones (the embedded one)")  # fmt: skip
    if stage == "codec":
        parser.add_argument("--partly", action="store_true", help="with --init: keep the preset's sizes, and take the "
                            "weights whose shapes agree")  # fmt: skip
    if stage == "transformer":
        _add_codec(parser, "runs/scorer/checkpoint")
        parser.add_argument("--tokens", metavar="DIR", help="what `melformer train tokens` wrote, instead of --data")
    for field in dataclasses.fields(TrainOptions):
        flag, text = f"--{field.name.replace('_', '-')}", _HELP.get(field.name, argument_help(field.name))
        if field.type in (bool, "bool"):
            parser.add_argument(flag, action=BooleanOptionalAction, default=None, help=text)
        else:
            parser.add_argument(flag, type=int if field.type in (int, "int") else float, metavar="N", help=text)


def add_token_arguments(parser: ArgumentParser) -> None:
    """Add what `melformer train tokens` understands to a parser."""
    parser.add_argument("--data", action="append", metavar="DIR", required=True,
                        help="a folder of loops; may be given several times")  # fmt: skip
    _add_codec(parser, "runs/scorer/checkpoint")
    parser.add_argument("-o", "--out", metavar="TOKENS", default="runs/tokens", help="folder to write (runs/tokens)")
    parser.add_argument("--workers", type=int, default=1, metavar="W", help="processes, one thread each (1)")


def _add_codec(parser: ArgumentParser, named: str, default: str | None = None) -> None:
    parser.add_argument(
        "--codec", metavar="DIR|REPO", default=default, help=f"a codec's checkpoint, or a whole one ({named})"
    )


def argument_help(name: str) -> str:
    """A field's name in words, where it says enough."""
    return name.replace("_", " ")
