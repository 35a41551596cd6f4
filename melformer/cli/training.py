"""`melformer train`: from material to a checkpoint. The options are the training configuration's own."""

from argparse import Namespace
from typing import Any

from melformer.cli.parser import Parser, add_command, add_group

STAGES = {
    "codec": "train the VQ-VAE on beats",
    "transformer": "train the transformer on a frozen codec's tokens",
}


def add_parsers(commands: Any) -> None:
    group = add_group(commands, "train", "train a model (also under torchrun)")
    for stage, help in STAGES.items():
        parser = add_command(group, stage, run, help)
        parser.set_defaults(stage=stage)
        parser.complete = lambda parser, stage=stage: _add_options(parser, stage)


def _add_options(parser: Parser, stage: str) -> None:
    from melformer.train import add_arguments

    add_arguments(parser, stage)


def run(args: Namespace) -> None:
    from melformer.train import run

    run(args)
