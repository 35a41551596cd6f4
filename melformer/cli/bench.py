"""`melformer bench`: how fast a model is on this machine."""

from argparse import Namespace
from typing import Any

from melformer.cli.output import print_json
from melformer.cli.parser import add_command, add_json, add_model


def add_parsers(commands: Any) -> None:
    parser = add_command(commands, "bench", bench, "measure speed and memory on this machine")
    parser.add_argument("--beats", type=int, default=64, metavar="N", help="new beats at each tempo (default 64)")
    add_model(parser)
    add_json(parser)


def bench(args: Namespace) -> None:
    from dataclasses import asdict

    import torch

    from melformer.bench import bench

    torch.set_num_threads(1)  # as every command that generates
    result = bench(args.model, args.beats)
    if args.json:
        print_json(asdict(result))
    else:
        print(result.to_text())
