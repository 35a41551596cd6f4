"""The training commands: their arguments, and what each does. Heavy imports wait until a command runs."""

import ctypes
import os
import signal
import sys
from argparse import Namespace

from melformer.train.arguments import add_arguments, add_token_arguments

__all__ = ["add_arguments", "add_token_arguments", "run", "run_tempo", "run_tokens"]


def run(args: Namespace) -> None:
    """Train what `args.stage` names. Errors: RequestError, ConfigError, CheckpointError."""
    end_with_launcher()  # first of all: the import below takes seconds
    from melformer.train.commands import train

    train(args)


def run_tokens(args: Namespace) -> None:
    """Write the tokens of loops. Errors: RequestError, CheckpointError."""
    from melformer.train.commands import train_tokens

    train_tokens(args)


def run_tempo(args: Namespace) -> None:
    """Train the beat tracker. Errors: RequestError."""
    from melformer.train.tempo import train_tempo

    train_tempo(args)


_PR_SET_PDEATHSIG = 1


def end_with_launcher() -> None:
    """Have this process killed when the `torchrun` that started it dies.

    `torchrun` gives its processes sessions of their own. Killed by signal 9 it would leave them behind: they train on,
    or wait for each other, and a run that is resumed meanwhile finds its folder taken. Linux only: nothing elsewhere.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
