"""`melformer corpus`: music of our own making, to train on."""

from argparse import Namespace
from typing import Any

from melformer.cli.parser import add_command, add_group


def add_parsers(commands: Any) -> None:
    group = add_group(commands, "corpus", "compose and render music to train on")
    parser = add_command(group, "build", build, "write hours of passages as FLAC, and an index")
    parser.add_argument("dir", metavar="OUT_DIR")
    parser.add_argument("--hours", type=float, required=True, metavar="H")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="the same seed: the same bytes")
    parser.add_argument("--workers", type=int, default=1, metavar="W", help="processes")
    parser.add_argument("--styles", nargs="+", metavar="STYLE", help="only these styles")
    parser.add_argument("--exclude", nargs="+", default=(), metavar="STYLE", help="all but these styles")


def build(args: Namespace) -> None:
    from melformer.corpus import build

    styles = {"styles": args.styles, "exclude": args.exclude}
    n_passages = build(args.dir, args.hours, args.seed, args.workers, **styles)
    print(f"{args.dir}: {n_passages} passages")
