"""Files that are either whole or absent."""

import resource
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from melformer.files import write_tensors


def test_tensors_that_share_memory_are_written_and_read_back(tmp_path: Path) -> None:
    whole = torch.arange(6.0)
    write_tensors(tmp_path / "deep" / "a.safetensors", {"all": whole, "part": whole[2:4]})
    assert torch.equal(load_file(tmp_path / "deep" / "a.safetensors")["part"], torch.tensor([2.0, 3.0]))


def test_a_full_disk_is_an_oserror_that_names_the_file(tmp_path: Path) -> None:
    """The system's own limit on a file's size stands in for the disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(OSError) as caught:
            write_tensors(tmp_path / "a.safetensors", {"all": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert caught.value.filename == str(tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []
