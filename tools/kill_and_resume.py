"""Kill training with signal 9 at random moments, resume it each time, and compare the bits with an unharmed run's.

    python tools/kill_and_resume.py --kills 20 --processes 1 2

What is compared: the state (weights, averages, optimizer), the exported codec, and the log without its times.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from melformer.audio.io import Waveform, write_waveform
from melformer.train.checkpoint import read_state

STEPS, SAVE_EVERY = 60, 3


def write_loops(folder: Path, n_loops: int = 6, n_beats: int = 8) -> Path:
    """Loops of a click and a tone with the tempo in their names."""
    for i in range(n_loops):
        bpm = 100 + 10 * i
        beat = np.arange(round(n_beats * 60 / bpm * 22_050)) / 22_050 * bpm / 60
        sound = 0.5 * np.exp(-(beat % 1.0) * 30) + 0.3 * np.sin(500 * beat * 2 ** (np.floor(beat % 4) / 4))
        write_waveform(folder / f"loop_{bpm}bpm.wav", Waveform(sound.astype(np.float32), 22_050))
    return folder


def command(run: Path, loops: Path, processes: int, steps: int) -> list[str]:
    """What a user types: a new run, or its continuation where there is a state already."""
    start = [sys.executable, "-m"]
    if processes > 1:
        start += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    train = [*start, "melformer", "train", "codec"]
    if (run / "state.pt").exists():
        return [*train, "--resume", str(run)]
    options = {"--batch-size": 1, "--steps": steps, "--save-every": SAVE_EVERY, "--validate-every": 10, "--threads": 1}
    words = [word for name, value in options.items() for word in (name, str(value))]
    return [*train, "--preset", "tiny", "--data", str(loops), "-o", str(run), *words]


def start(run: Path, loops: Path, processes: int, steps: int) -> subprocess.Popen[bytes]:
    run.mkdir(parents=True, exist_ok=True)
    with open(run.with_suffix(".output"), "ab") as output:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        words = command(run, loops, processes, steps)
        return subprocess.Popen(words, stdout=output, stderr=output, env=environment, start_new_session=True)


def finish(run: Path, loops: Path, processes: int, steps: int) -> float:
    """Let a run go on to its end and say how many seconds it took."""
    begun = time.monotonic()
    status = start(run, loops, processes, steps).wait()
    assert status == 0, run.with_suffix(".output").read_text()[-3_000:]
    return time.monotonic() - begun


def kill_at_random(run: Path, loops: Path, processes: int, steps: int, kills: int, seed: int) -> list[int]:
    """Start, kill after a random time, check what is left; so many times, or until the run is through.

    Gives the steps that had been saved each time.
    Half of the kills fall anywhere from the start of the process on, half just after a state has been written, when
    the next is written soon or the checkpoint is being changed.
    """
    draw = random.Random(seed)
    saved = []
    while len(saved) < kills:
        process = start(run, loops, processes, steps)
        before, deadline = _written(run), time.monotonic() + 120.0
        if draw.random() < 0.5:
            process_end = _wait(process, draw.uniform(0.0, 15.0))
        else:
            while _written(run) == before and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.001)
            process_end = _wait(process, draw.uniform(0.0, 0.5))
        if process_end and process.returncode == 0:
            return saved  # it was through before it could be killed
        assert not process_end, run.with_suffix(".output").read_text()[-3_000:]
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        saved.append(check_what_is_left(run))
    return saved


def _written(run: Path) -> int:
    path = run / "state.pt"
    return path.stat().st_mtime_ns if path.exists() else 0


def _wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def check_what_is_left(run: Path) -> int:
    """A state and a checkpoint, where there are any, are whole. Gives the saved step."""
    if (run / "checkpoint").exists():
        from melformer.train.pretrained import read_codec

        assert read_codec(run / "checkpoint").records
    return read_state(run / "state.pt")["step"] if (run / "state.pt").exists() else 0


def differences(straight: Path, other: Path) -> list[str]:
    """Names of everything in which two finished runs differ, to the last bit."""
    a, b = (read_state(run / "state.pt") for run in (straight, other))
    found = [f"{part} {name}" for part in ("model", "ema") for name in a[part]
             if not torch.equal(a[part][name], b[part][name])]  # fmt: skip
    for i, values in a["optimizer"]["state"].items():
        found += [f"optimizer {i} {name}" for name, value in values.items()
                  if not torch.equal(value, b["optimizer"]["state"][i][name])]  # fmt: skip
    found += [name for name in ("step", "running") if a[name] != b[name]]
    weights = [(run / "checkpoint" / "codec.safetensors").read_bytes() for run in (straight, other)]
    logs = [[{**json.loads(line), "seconds": 0} for line in (run / "log.jsonl").read_text().splitlines()]
            for run in (straight, other)]  # fmt: skip
    found += ["exported codec"] * (weights[0] != weights[1]) + ["log"] * (logs[0] != logs[1])
    hidden, usual = ({path.name for path in run.iterdir() if path.name.startswith(".")} for run in (other, straight))
    return found + [f"left behind: {name}" for name in sorted(hidden - usual)]


def trial(folder: Path, processes: int, kills: int, seed: int = 0, steps: int = STEPS) -> tuple[list[int], list[str]]:
    """One whole trial in a folder: the steps that were saved when the kills came, and the differences at the end."""
    loops = write_loops(folder / "loops")
    finish(folder / "straight", loops, processes, steps)
    saved: list[int] = []
    found: list[str] = []
    while len(saved) < kills:
        run = folder / f"killed_{len(saved)}"
        saved += kill_at_random(run, loops, processes, steps, kills - len(saved), seed + len(saved))
        finish(run, loops, processes, steps)
        found += differences(folder / "straight", run)
    return saved, found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    args = parser.parse_args()
    failed = 0
    for processes in args.processes:
        with tempfile.TemporaryDirectory(prefix="melformer-kill-") as folder:
            saved, found = trial(Path(folder), processes, args.kills, args.seed, args.steps)
        print(f"{processes} process(es), killed {len(saved)} times, with the state of these steps on disk: {saved}")
        print(f"after {args.steps} steps: {found or 'the same bits'}", flush=True)
        failed += bool(found)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
