"""A few hundred damaged files of every format, in this process: nothing but named errors, ever."""

import time
from pathlib import Path

import fuzz_audio
import numpy as np
import pytest
from fuzz_damage import damage

from melformer.audio.metadata import read_bpm_tag
from melformer.audio.tiaf import Tiaf, read_tiaf, write_tiaf
from melformer.errors import MelformerError

PER_FORMAT = 30
NAMES = [*fuzz_audio.FORMATS, "tagged.wav", "tagged.flac", "a.tiaf"]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One good file of every format, and a .tiaf, as bytes."""
    folder = tmp_path_factory.mktemp("originals")
    write_tiaf(folder / "a.tiaf", Tiaf.from_waveform(fuzz_audio.clicks(), 120))
    return fuzz_audio.good_files(folder)


def use(path: Path) -> None:
    """All that the package does with a stranger's file before a model sees it."""
    if path.suffix == ".tiaf":
        tag = read_bpm_tag(path)
        assert tag is None or 40 <= tag <= 240
        read_tiaf(path).to_waveform()
    else:
        fuzz_audio.use_audio(path)


def outcome(path: Path) -> str | None:
    """The message of the named error, or None; any other error goes through."""
    try:
        use(path)
    except MelformerError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_read_or_refused_by_name(tmp_path: Path, originals: dict[str, bytes], name: str) -> None:
    rng = np.random.default_rng(sum(name.encode()))
    path = tmp_path / f"damaged_{name}"
    path.write_bytes(originals[name])
    use(path)
    n_refused = 0
    for _ in range(PER_FORMAT):
        path.write_bytes(damage(originals[name], rng))
        began = time.process_time()
        message = outcome(path)
        n_refused += message is not None
        assert message is None or (message and "\n" not in message)
        assert time.process_time() - began < 5  # a second of audio; anything longer was led astray
    assert n_refused > 0


def test_rubbish_behind_every_signature(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    for head in (b"RIFF\xff\xff\xff\xffWAVEfmt ", b"fLaC", b"OggS", b"ID3\x04", b"\xff\xfb", b"FORM\0\0\1\0AIFFCOMM"):
        for n_bytes in (0, 1, 30, 3_000):
            path = tmp_path / "rubbish.wav"
            path.write_bytes(head + rng.integers(0, 256, n_bytes, dtype=np.uint8).tobytes())
            assert read_bpm_tag(path) is None
            with pytest.raises(MelformerError):
                use(path)
