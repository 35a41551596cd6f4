"""`melformer train`: from material to a checkpoint. The options are the training configuration's own."""

from argparse import Namespace
from typing import Any

from melformer.cli.parser import Parser, add_command, add_group

STAGES = {
    "codec": "train the VQ-VAE on beats",
    "scorer": "train the scorer of sources on a frozen codec's codes",
    "transformer": "train the transformer on a frozen codec's tokens",
    "separator": "train the network that separates loops into stems, on passages with their stems",
    "tempo": "train the tracker that finds beats, tempo and metre, on passages that it composes",
    "pointer": "train the network that plans stems, on passages with their stems and notes",
}


def add_parsers(commands: Any) -> None:
    group = add_group(commands, "train", "train a model (also under torchrun)")
    for stage, help in STAGES.items():
        parser = add_command(group, stage, run, help)
        parser.set_defaults(stage=stage)
        parser.complete = lambda parser, stage=stage: _add_options(parser, stage)
    parser = add_command(group, "tokens", run_tokens, "write a material's tokens once, for any number of trainings")
    parser.complete = _add_token_options


def _add_options(parser: Parser, stage: str) -> None:
    from melformer.train import add_arguments

    add_arguments(parser, stage)


def run(args: Namespace) -> None:
    from melformer.train import run

    run(args)


def _add_token_options(parser: Parser) -> None:
    from melformer.train import add_token_arguments

    add_token_arguments(parser)


def run_tokens(args: Namespace) -> None:
    from melformer.train import run_tokens

    run_tokens(args)
