"""Commands in processes of their own, to which faults are done; forked from one that has the libraries loaded."""

import contextlib
import ctypes
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from melformer.audio.io import Waveform, write_waveform

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([
    "melformer.cli", "melformer.generate", "melformer.evaluate.report", "melformer.train.commands",
    "melformer.train.finetune.finetune", "melformer.corpus", "melformer.bench", "soundfile",
])  # fmt: skip
Prepare = tuple[Callable[..., None], tuple[Any, ...]]


@dataclass
class Command:
    """A running `melformer` command and what it prints."""

    process: Any
    folder: Path

    def end(self, wait_s: float = 120.0) -> tuple[int, str]:
        """Its status (negative: a signal) and its last words."""
        self.process.join(wait_s)
        if self.process.is_alive():
            self.process.kill()
            raise AssertionError(f"the command did not end: {self.words}")
        return self.process.exitcode, self.words

    def interrupt(self, number: int, after_s: float) -> None:
        """Send a signal so long after the command has begun, unless it has ended."""
        while not (self.folder / "stdout.txt").exists() and self.process.is_alive():
            time.sleep(0.01)
        time.sleep(after_s)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    @property
    def words(self) -> str:
        return (self.folder / "stderr.txt").read_text(encoding="utf-8", errors="replace")


def start(folder: Path, *argv: object, prepare: tuple[Prepare, ...] = (), **environment: str) -> Command:
    """Start a command in `folder`; `prepare` are functions that its process calls first."""
    (folder / "stderr.txt").touch()
    words = tuple(str(word) for word in argv)
    process = CONTEXT.Process(target=_run, args=(words, folder, prepare, {"OMP_NUM_THREADS": "1", **environment}))
    process.start()
    return Command(process, folder)


def _run(argv: tuple[str, ...], folder: Path, prepare: tuple[Prepare, ...], environment: dict[str, str]) -> None:
    import torch

    from melformer.cli import main

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the tests themselves were started with
    os.chdir(folder)
    os.environ.update(environment)
    for stream, name in ((sys.stdout, "stdout.txt"), (sys.stderr, "stderr.txt")):
        stream.flush()
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream.fileno())
    for function, arguments in prepare:
        function(*arguments)
    sys.exit(main(argv))


def full_disk(n_bytes: int) -> None:
    """No file may grow beyond `n_bytes`, as on a disk that is full there."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))


def obey_modes() -> None:
    """Let read-only folders be read-only for root too: give up the capabilities that pass them by."""
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(header, data) == 0


def little_memory(n_bytes: int) -> None:
    """Room for `n_bytes` more than the process has now."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + n_bytes, now + n_bytes))


def one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def note_peak(path: str) -> None:
    """Write the most memory that the process ever held, in bytes, when it ends."""
    import atexit
    from multiprocessing import util

    def write() -> None:
        Path(path).write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))

    atexit.register(write)
    util.Finalize(None, write, exitpriority=0)


def write_loop(path: Path, n_beats: int = 8, bpm: float = 120.0, rate: int = 22_050) -> Path:
    """A loop of clicks and a note that climbs, 16 bits, stereo."""
    beat = np.arange(round(n_beats * 60 / bpm * rate)) / rate * bpm / 60
    sound = 0.5 * np.exp(-(beat % 1.0) * 30) + 0.3 * np.sin(500 * beat * 2 ** (np.floor(beat % 4) / 4))
    write_waveform(path, Waveform(np.stack([sound, sound / 2], axis=1).astype(np.float32), rate))
    return path


def leftovers(folder: Path) -> list[str]:
    """Temporary files and folders that nobody tidied up."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".*") if path.name != ".writing")
