"""What `torchrun` starts ends with it."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_launcher() -> None:
    """Have this process killed when the `torchrun` that started it dies.

    `torchrun` gives its processes sessions of their own. Killed by signal 9 it would leave them behind: they train on,
    or wait for each other, and a run that is resumed meanwhile finds its folder taken. Linux only: nothing elsewhere.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
