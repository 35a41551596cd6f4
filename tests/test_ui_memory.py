"""What the page no longer needs goes back to the system."""

import asyncio
import subprocess
import sys
from types import SimpleNamespace

import pytest

from melformer.ui import app

PROGRAM = """
import threading, numpy as np
from pathlib import Path
from melformer.ui.host.memory import return_freed_memory, use_one_heap

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

assert use_one_heap()
kept = []
def work():
    arrays = [np.ones(5_000) for _ in range(2_000)]  # 80 MB in pieces that live in the heap
    kept.append(arrays[-1].copy())  # what keeps the heap's end where it is
for _ in range(4):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
before = resident_mb()
assert return_freed_memory()
print(before - resident_mb())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the GNU C library's own means")
def test_freed_memory_goes_back() -> None:
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert float(found.stdout) > 40


@pytest.mark.parametrize("n_playing", [0, 1])
def test_a_page_at_rest_gives_memory_back(monkeypatch: pytest.MonkeyPatch, n_playing: int) -> None:
    """What readers and uploads held is freed after the last stream has ended; a stream that plays returns its own."""
    n_swept, n_returned = [], []
    monkeypatch.setattr(app, "SWEEP_S", 0.0)
    monkeypatch.setattr(app, "return_freed_memory", lambda: n_returned.append(1))
    sweep = SimpleNamespace(sweep=lambda: n_swept.append(1))
    sessions = SimpleNamespace(sweep=lambda: None, scheduler=SimpleNamespace(n_playing=n_playing))
    page = SimpleNamespace(outbox=sweep, sessions=sessions, workspace=SimpleNamespace(sweep=lambda: None))

    async def live() -> None:
        async with app._housekeeping(page)(None):  # type: ignore[arg-type]
            while len(n_swept) < 3:
                await asyncio.sleep(0.01)

    asyncio.run(live())
    assert bool(n_returned) == (n_playing == 0)
