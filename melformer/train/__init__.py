"""The training commands: their arguments, and what each does. Heavy imports wait until a command runs."""

from argparse import Namespace

from melformer.train.arguments import add_arguments

__all__ = ["add_arguments", "run"]


def run(args: Namespace) -> None:
    """Train what `args.stage` names. Errors: RequestError, ConfigError, CheckpointError."""
    from melformer.train.commands import train

    train(args)
