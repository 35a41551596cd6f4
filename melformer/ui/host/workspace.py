"""The page's folder: uploads and sessions of one process, with one limit for all their files."""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from melformer.errors import RequestError

PREFIX = "melformer-"
LOCK = ".lock"
UPLOAD_LIFE_S = 4200.0
"""An upload may be continued for so long."""
UPLOAD_SHARE = 0.25
"""Of the limit; beyond it the oldest uploads go, once they are `YOUNG_S` old."""
YOUNG_S = 60.0


class Workspace:
    """A folder below `root` that holds at most `limit_mb` MB, locked as long as the process lives.

    Folders of processes that were killed are removed when the next one begins.
    Errors: OSError when the folder cannot be made.
    """

    def __init__(self, root: Path, limit_mb: float) -> None:
        root.mkdir(parents=True, exist_ok=True)
        remove_abandoned(root)
        self.limit_bytes = round(1e6 * limit_mb)
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root)).resolve()
        self._lock = FileLock(self.folder / LOCK)
        self._lock.acquire(timeout=0)
        self.uploads, self.sessions = self.folder / "uploads", self.folder / "sessions"
        for folder in (self.uploads, self.sessions):
            folder.mkdir()
        self._sweeping = threading.Lock()

    def used_bytes(self) -> int:
        return sum(size for _, size, _ in _files(self.folder))

    def check_room(self, n_bytes: int = 0) -> None:
        """Errors: RequestError when the files of all visitors leave no room for so many bytes more."""
        if self.used_bytes() + n_bytes > self.limit_bytes:
            self.sweep()
            if self.used_bytes() + n_bytes > self.limit_bytes:
                raise RequestError(
                    f"The server's disk is full ({self.limit_bytes / 1e6:,.0f} MB). "
                    "Please try again in 10 minutes: unused files are deleted by then."
                )

    def sweep(self) -> None:
        """Remove uploads that are old, and the oldest when all together are too large."""
        with self._sweeping:
            now_s = time.time()
            uploads = sorted((changed_s, size, path) for path, size, changed_s in _files(self.uploads))
            total = sum(size for _, size, _ in uploads)
            for changed_s, size, path in uploads:
                too_many = total > UPLOAD_SHARE * self.limit_bytes and now_s - changed_s > YOUNG_S
                if too_many or now_s - changed_s > UPLOAD_LIFE_S:
                    shutil.rmtree(path.parent, ignore_errors=True)
                    total -= size

    def close(self) -> None:
        """Remove every file."""
        self._lock.release()
        shutil.rmtree(self.folder, ignore_errors=True)


def remove_abandoned(root: Path) -> None:
    """Remove the folders in `root` whose process has ended without doing so."""
    for folder in root.glob(f"{PREFIX}*"):
        if not (folder / LOCK).exists():  # its process is only beginning
            continue
        try:
            with FileLock(folder / LOCK).acquire(timeout=0):
                pass
        except (OSError, Timeout):  # its process lives
            continue
        shutil.rmtree(folder, ignore_errors=True)


def _files(folder: Path) -> Iterator[tuple[Path, int, float]]:
    """Path, bytes and time of the last change of every file, as far as they stay while one looks."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            try:
                info = path.lstat()
            except OSError:
                continue
            yield path, info.st_size, info.st_mtime
