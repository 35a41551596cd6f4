"""The training commands: their arguments, and what each does. Heavy imports wait until a command runs."""

from argparse import Namespace

from melformer.train.arguments import add_arguments, add_token_arguments
from melformer.train.launcher import end_with_launcher

__all__ = ["add_arguments", "add_token_arguments", "run", "run_tokens"]


def run(args: Namespace) -> None:
    """Train what `args.stage` names. Errors: RequestError, ConfigError, CheckpointError."""
    end_with_launcher()  # first of all: the import below takes seconds
    from melformer.train.commands import train

    train(args)


def run_tokens(args: Namespace) -> None:
    """Write the tokens of loops. Errors: RequestError, CheckpointError."""
    from melformer.train.commands import train_tokens

    train_tokens(args)
