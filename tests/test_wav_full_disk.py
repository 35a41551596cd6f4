"""A disk that is full anywhere in a file, also in its last bytes: no file, and an error that says so."""

import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from melformer.audio.io import Waveform, write_waveform
from melformer.audio.tiaf import Tiaf, write_tiaf


@pytest.fixture
def limit() -> Iterator[Callable[[int], None]]:
    """Files may not grow beyond a number of bytes, until the test ends."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda n_bytes: resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.tiaf"])
def test_no_file_is_left_however_little_is_missing(tmp_path: Path, name: str, limit: Callable[[int], None]) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (22_050, 1)).astype(np.float32)
    waveform = Waveform(noise, 22_050)

    def write(path: Path) -> None:
        if name == "a.tiaf":
            write_tiaf(path, Tiaf.from_waveform(waveform, 120))
        else:
            write_waveform(path, waveform, bpm=120)

    write(tmp_path / f"whole{name}")
    n_bytes = (tmp_path / f"whole{name}").stat().st_size
    for allowed in (0, 20, 100, 5_000, n_bytes // 2, n_bytes - 2_000, n_bytes - 100, n_bytes - 1):
        limit(allowed)
        with pytest.raises(OSError, match=r"full|large"):
            write(tmp_path / name)
        assert sorted(path.name for path in tmp_path.iterdir()) == [f"whole{name}"]
    limit(n_bytes)
    write(tmp_path / name)
    assert (tmp_path / name).read_bytes() == (tmp_path / f"whole{name}").read_bytes()
