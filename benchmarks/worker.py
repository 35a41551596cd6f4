"""One system in a process of its own, so that its memory is its own: reads jobs as lines, answers with seconds."""

import json
import resource
import sys
import time
from typing import Any


def peak_mb() -> float:
    """The most memory that this process has held, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def answer(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def main(name: str, n_beats: int) -> None:
    """Load the system, say so, then do a job a line: "threads\\tjob"."""
    import torch

    from benchmarks import stay
    from benchmarks.systems import build

    stay()
    torch.manual_seed(0)
    start = time.perf_counter()
    system = build(name, n_beats)
    jobs = system.jobs()
    n_parameters, weights_mb = system.weights()
    answer(
        jobs=list(jobs), load_s=time.perf_counter() - start, n_parameters=n_parameters, weights_mb=weights_mb,
        peak_mb=peak_mb(),
    )  # fmt: skip
    for line in sys.stdin:
        threads, job = line.rstrip("\n").split("\t")
        torch.set_num_threads(int(threads))
        answer(seconds=jobs[job](), peak_mb=peak_mb())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
