"""Files and folders that are either whole or absent."""

import ctypes
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from melformer.errors import RequestError

_PACKAGE = Path(__file__).resolve().parent

try:
    import fcntl
except ImportError:  # Windows has no such locks: there, one must not write a folder twice at once
    fcntl = None  # type: ignore[assignment]


def shipped_folder(name: str) -> Path:
    """The folder `checkpoints` or `examples`: inside the package where a wheel is installed, else beside it, as in a
    clone. It may be absent."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; it takes the final name only when the block succeeds.

    The suffix is kept, since writers choose a format by it. Errors: OSError when the folder is read-only.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem[:40]}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files private
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def whole_lines(path: str | Path) -> list[str]:
    """The lines of a text file that is written line by line; a last one, torn by a kill or a full disk, is cut off."""
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        with atomic_path(path) as temporary:
            temporary.write_text(whole, encoding="utf-8")
    return whole.splitlines()


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a new empty folder beside `path`; it takes the final name only when the block succeeds.

    A folder that has the name already is replaced as a whole: whoever opens `path` finds the old one or the new one,
    never a mixture. Errors: OSError when the folder above is read-only or the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}-", dir=path.parent))
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)  # mkdtemp makes folders private
        if path.exists():
            _exchange(temporary, path)
        else:
            os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _exchange(one: Path, other: Path) -> None:
    """Swap the names of two folders, in one step where the system can (Linux), else in two."""
    if sys.platform == "linux":
        at_working_directory, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
        rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        if rename is not None:
            names = (os.fsencode(one), os.fsencode(other))
            if rename(at_working_directory, names[0], at_working_directory, names[1], exchange) == 0:
                return
    aside = one.with_name(f"{one.name}-old")
    os.replace(other, aside)
    os.replace(one, other)
    os.replace(aside, one)


@contextmanager
def only_writer(folder: str | Path) -> Iterator[None]:
    """Hold a folder that grows for one process; a process that ends, however it ends, lets go of it.

    Errors: RequestError while another process holds it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".writing", "wb") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                words = f"Another process is writing to {folder}; wait for it, or give another folder."
                raise RequestError(words) from None
        yield
