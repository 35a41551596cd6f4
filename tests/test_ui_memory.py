"""What the page no longer needs goes back to the system."""

import subprocess
import sys

import pytest

PROGRAM = """
import threading, numpy as np
from pathlib import Path
from melformer.ui.memory import return_freed_memory, use_one_heap

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
