"""Large arrays of all sessions: on disk, and in memory no more than the budget."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from melformer.audio.waveform import Waveform
from melformer.ui.takes.spool import LARGE_BYTES, Spool, files_of, map_behind, maps_of


@dataclass(frozen=True)
class Nested:
    waveform: Waveform
    parts: tuple[Any, ...]
    small: np.ndarray
    words: str = "kept"


def nested(seed: int = 0) -> Nested:
    rng = np.random.default_rng(seed)
    waveform = Waveform(rng.uniform(-1, 1, (LARGE_BYTES, 2)).astype(np.float32), 44_100)
    return Nested(waveform, (rng.integers(0, 1024, (64, 16, 16)), None, "a"), np.arange(3))


def test_what_is_kept_equals_what_was_given(tmp_path: Path) -> None:
    given = nested()
    kept = Spool(10**9).keep(given, tmp_path)
    assert np.array_equal(kept.waveform.samples, given.waveform.samples) and kept.waveform.sample_rate == 44_100
    assert np.array_equal(kept.parts[0], given.parts[0]) and kept.parts[1:] == (None, "a") and kept.words == "kept"
    assert kept.small is given.small and map_behind(kept.parts[0]) is not None
    assert len(maps_of(kept)) == 2 and files_of(kept) == set(tmp_path.iterdir())


def test_what_is_on_disk_already_is_not_written_again(tmp_path: Path) -> None:
    spool = Spool(10**9)
    kept = spool.keep(nested(), tmp_path)
    again = spool.keep(Nested(kept.waveform.slice(10, 50_000), kept.parts, kept.small), tmp_path)
    assert files_of(again) == files_of(kept) == set(tmp_path.iterdir())


def test_torch_may_have_them(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    import torch

    kept = Spool(10**9).keep(nested(), tmp_path)
    assert torch.from_numpy(kept.waveform.samples).shape == (LARGE_BYTES, 2)
    assert not recwarn.list


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(np.memmap, "__new__", full)
    monkeypatch.setattr("melformer.ui.takes.spool.np.ascontiguousarray", full)
    with pytest.raises(OSError, match="no space"):
        Spool(10**9).keep(nested(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_budget_is_for_everybody(tmp_path: Path) -> None:
    """What was used last stays; what is used now stays even where it is more than the budget."""
    one = 8 * LARGE_BYTES + 8 * 64 * 16 * 16
    spool = Spool(2 * one)
    kept = [spool.keep(nested(seed), tmp_path) for seed in range(5)]
    assert spool.resident_bytes() == 2 * one
    spool.use(kept[0])
    assert spool.resident_bytes() == 2 * one
    spool.use((kept[0], kept[1], kept[2]))
    assert spool.resident_bytes() == 3 * one
    del kept
    spool.use(())
    assert spool.resident_bytes() == 0
    for seed in range(5):
        assert np.array_equal(spool.keep(nested(seed), tmp_path).waveform.samples, nested(seed).waveform.samples)


PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from melformer.ui.takes.spool import Spool

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

spool, before, kept = Spool(20_000_000), resident_mb(), []
for k in range(30):
    kept.append(spool.keep((np.full(2_000_000, k, np.float32),), Path(sys.argv[1])))
    assert float(kept[-1][0].sum()) == 2_000_000 * k
spool.use(kept[3])
assert float(kept[3][0].sum()) == 6_000_000
print(resident_mb() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_what_the_budget_says(tmp_path: Path) -> None:
    """30 arrays of 8 MB at a budget of 20 MB."""
    found = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path], capture_output=True, text=True, check=True)
    assert float(found.stdout) < 60
