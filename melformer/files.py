"""Files and folders that are either whole or absent."""

import ctypes
import errno
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melformer.errors import FormatError, RequestError

if TYPE_CHECKING:
    from torch import Tensor

_PACKAGE = Path(__file__).resolve().parent


def shipped_folder(name: str) -> Path:
    """The folder `checkpoints` or `examples`: inside the package where a wheel is installed, else beside it, as in a
    clone. It may be absent."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def check_format(what: str, found: Any, known: int, remedy: str) -> None:
    """Compare the number of a file's format with the one that is read; `remedy` says what to do with an older file.

    Errors: FormatError.
    """
    if found == known and not isinstance(found, bool):
        return
    if isinstance(found, int) and found > known:
        remedy = "update Melformer (`pip install --upgrade melformer`)."
    raise FormatError(f"{what} has format {str(found)[:40]}; this version of Melformer reads format {known}: {remedy}")


@contextmanager
def atomic_path(path: str | Path, *, replace: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path`; it takes the final name only when the block succeeds.

    The suffix is kept, since writers choose a format by it. Errors: OSError, which names the file, when the folder is
    read-only or the disk full; RequestError where the name is a device's; FileExistsError without `replace` where the
    final name is taken by then.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise RequestError(f"{path} is a device or a pipe, which would be replaced by a file: give another name.")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem[:40]}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files private
        if replace:
            os.replace(temporary, path)
        else:
            _take_free_name(temporary, path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, name):
            error.filename = str(path)  # the one that somebody asked for
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_arrays(path: str | Path, arrays: Mapping[str, Any], *, compressed: bool = False) -> None:
    """Write one .npz, whole or not at all. Errors: those of `atomic_path`; numpy's own writer leaves a ZIP open on a
    full disk, which older Pythons complain about when they end."""
    import numpy as np

    file = io.BytesIO()
    save: Any = np.savez_compressed if compressed else np.savez  # numpy's stub takes every keyword for a flag
    save(file, **arrays)
    with atomic_path(path) as temporary:
        temporary.write_bytes(file.getbuffer())


def write_tensors(path: str | Path, tensors: "Mapping[str, Tensor]", metadata: dict[str, str] | None = None) -> None:
    """Write one safetensors file, whole or not at all. Errors: those of `atomic_path`; safetensors' own writer would
    give an error of its own kind on a full disk."""
    from safetensors.torch import save

    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}  # none shares memory
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(own, metadata))


def user_path(text: str | Path) -> Path:
    """A path as somebody typed it, with `~` as the home folder. Errors: RequestError for an unknown user's."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise RequestError(f"{text} names the home folder of a user who is not known here.") from None


def _take_free_name(temporary: Path, path: Path) -> None:
    """Give a file its final name unless the name is taken, also by a process that writes at the same time."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, as on a memory stick
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        os.replace(temporary, path)


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
def only_writer(folder: str | Path, name: str = ".writing") -> Iterator[None]:
    """Hold a folder that grows for one process; a process that ends, however it ends, lets go of it.

    `name` is the file that is locked: processes that share the work have one each. Errors: RequestError while another
    process holds it.
    """
    from filelock import FileLock, Timeout

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / name, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        words = f"Another process is writing to {folder}; wait for it, or give another folder."
        raise RequestError(words) from None
    try:
        yield
    finally:
        lock.release()
