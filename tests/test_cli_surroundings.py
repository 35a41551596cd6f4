"""What surrounds a command: closed outputs, devices, unknown users, full disks. Each a sentence, no traceback."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from melformer.cli import main
from melformer.errors import RequestError
from melformer.files import atomic_path, user_path

ROOT = Path(__file__).resolve().parents[1]


def test_an_unknown_users_home_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    loop = ROOT / "examples" / sorted(path.name for path in (ROOT / "examples").glob("*bpm.*"))[0]
    command = ["continue", str(loop), "--model", "~nosuchuser/x", "-o", str(tmp_path / "a.wav")]
    assert main(command) == 2
    assert capsys.readouterr().err == (
        "melformer: ~nosuchuser/x names the home folder of a user who is not known here.\n"
    )
    assert user_path("~/x") == Path.home() / "x"


@pytest.mark.skipif(os.name != "posix", reason="devices have names there")
def test_a_device_is_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/null")):
        with pytest.raises(RequestError, match="is a device or a pipe"), atomic_path(path):
            pytest.fail("nothing may be written")
    assert pipe.is_fifo() and not Path("/dev/null").is_file()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_full_disk_is_told_with_the_files_name(tmp_path: Path) -> None:
    """numpy and zipfile raise without any name."""
    with pytest.raises(OSError, match=r"tokens\.npz") as caught, atomic_path(tmp_path / "tokens.npz"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == str(tmp_path / "tokens.npz")
    with pytest.raises(OSError, match=r"a\.wav") as caught, atomic_path(tmp_path / "a.wav") as temporary:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(temporary))
    assert caught.value.filename == str(tmp_path / "a.wav")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="a shell that closes descriptors")
def test_closed_outputs_are_no_fault() -> None:
    command = f"{sys.executable} -m melformer tiaf info nothing.tiaf"
    for closed, said in ((">&-", True), ("2>&-", False), (">&- 2>&-", False)):
        done = subprocess.run(["sh", "-c", f"{command} {closed}"], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 2
        assert ("nothing.tiaf" in done.stderr) == said and "Traceback" not in done.stderr and done.stdout == ""
