"""Strangers who take their time: slow readers, half heads, events that nobody fetches, uploads that never end.

    python tools/patience.py                        # ten minutes, then docs/patience.json and docs/patience.png
    python tools/patience.py --minutes 1 -o /tmp/patience

The page runs in a process of its own, with the checkpoint that is shipped, on 127.0.0.1; all four kinds are at it at
once. Written are its memory, its files and how long `GET /` took before, meanwhile and afterwards. The exit status is 1
unless memory and files come back to where they were, and the page still continues a loop.
"""

import argparse
import itertools
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from page_probe import ANSWERS_WITHIN_S, ROOT, Watch, hosting, machine, publish, upload, watching, write_track

READERS, HEADS, EVENTS, UPLOADS = 20, 40, 4, 12
"""How many of each kind are at it at once."""
SPEEDS = (0, 20_000, 200_000)
"""Bytes a second of an upload: none, a little more than must come, and until its size is refused."""
BEFORE_S, AFTER_S = 30.0, 150.0
SPARE_MB = 100.0
"""What the process may have more at the end: the first use of anything takes memory that stays."""
TICK_S = 0.5
STALLED_S = 90.0


@dataclass
class Attack:
    """What the strangers do, until `done`; each is counted by how it ended."""

    address: tuple[str, int]
    loop: str
    done: threading.Event = field(default_factory=threading.Event)
    ends: Counter[str] = field(default_factory=Counter)

    def threads(self) -> list[threading.Thread]:
        kinds = ((self.read_slowly, READERS), (self.send_half_a_head, HEADS), (self.fetch_nothing, EVENTS))
        todo: list[tuple[Callable[[int], str], int]] = [(kind, k) for kind, n in kinds for k in range(n)]
        todo += [(self.upload_without_end, speed) for speed, _ in zip(itertools.cycle(SPEEDS), range(UPLOADS))]
        return [threading.Thread(target=self._again, args=one, daemon=True) for one in todo]

    def _again(self, attempt: Callable[[int], str], number: int) -> None:
        while not self.done.is_set():
            try:
                self.ends[f"{attempt.__name__}: {attempt(number)}"] += 1
            except (OSError, httpx.HTTPError) as error:
                self.ends[f"{attempt.__name__}: {type(error).__name__}"] += 1
            self.done.wait(TICK_S)

    def _connect(self, request: str) -> socket.socket:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(TICK_S)
        connection.connect(self.address)
        connection.sendall(request.replace("\n", "\r\n").encode())
        return connection

    def read_slowly(self, number: int) -> str:
        """A file of some megabytes: half of the readers take a kilobyte a second, half take nothing."""
        with self._connect(f"GET /gradio_api/file={quote(self.loop)} HTTP/1.1\nHost: x\n\n") as connection:
            began_s = time.monotonic()
            while not self.done.wait(1.0):
                if number % 2:
                    if not _read(connection, 1024):
                        return "ended by the page"
                elif time.monotonic() - began_s > STALLED_S:  # only reading shows that it was closed
                    return "ended by the page" if _was_closed(connection) else "still open after 90 s"
        return "still open at the end"

    def send_half_a_head(self, number: int) -> str:
        with self._connect("POST /gradio_api/queue/join HTTP/1.1\nHost: x\nX-Half: ") as connection:
            while not self.done.is_set():
                if not _read(connection, 1):
                    return "ended by the page"
        return "still open at the end"

    def fetch_nothing(self, number: int) -> str:
        data = [{"path": self.loop, "meta": {"_type": "gradio.FileData"}}, 256, number]
        url = f"http://{self.address[0]}:{self.address[1]}/gradio_api/call/continue"
        answer = httpx.post(url, json={"data": data}, timeout=ANSWERS_WITHIN_S)
        self.done.wait(10.0)
        return f"status {answer.status_code}"

    def upload_without_end(self, bytes_per_s: int) -> str:
        head = ("POST /gradio_api/upload HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n"
                "Content-Type: multipart/form-data; boundary=x\n\n")  # fmt: skip
        begin = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
        piece = bytes(round(bytes_per_s * TICK_S))
        with self._connect(head) as connection:
            connection.sendall(b"%x\r\n%s\r\n" % (len(begin), begin))
            while not self.done.wait(TICK_S):
                if piece:
                    connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
                elif not _read(connection, 4096):
                    return "ended by the page"
        return "still open at the end"


def _read(connection: socket.socket, n: int) -> bool:
    """Whether the connection is open, after some bytes were taken if any were there."""
    try:
        return bool(connection.recv(n))
    except TimeoutError:
        return True


def _was_closed(connection: socket.socket) -> bool:
    """Take all that is ready: whether an end follows it."""
    try:
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def continues(url: str, loop: str) -> bool:
    """Whether a script that asks for four beats gets them."""
    data = [{"path": loop, "meta": {"_type": "gradio.FileData"}}, 4, 1]
    asked = httpx.post(f"{url}/gradio_api/call/continue_whole", json={"data": data}, timeout=ANSWERS_WITHIN_S)
    event = asked.json().get("event_id", "")
    answer = httpx.get(f"{url}/gradio_api/call/continue_whole/{event}", timeout=ANSWERS_WITHIN_S)
    return "event: complete" in answer.text


def run(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="melformer-patience-") as name:
        files = Path(name) / "files"
        with hosting(files) as host:
            loop = upload(host, write_track(Path(name)))
            works = continues(host.url, loop)
            with watching(host, files) as watch:
                time.sleep(BEFORE_S)
                address = urlsplit(host.url)
                ends = besiege((str(address.hostname), address.port or 0), loop, 60.0 * options.minutes)
                time.sleep(AFTER_S)
            works = works and continues(host.url, loop)
    return summary(options, watch, ends, works)


def besiege(address: tuple[str, int], loop: str, seconds: float) -> Counter[str]:
    attack = Attack(address, loop)
    threads = attack.threads()
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    attack.done.set()
    for thread in threads:
        thread.join(ANSWERS_WITHIN_S)
    return attack.ends


def summary(options: argparse.Namespace, watch: Watch, ends: Counter[str], works: bool) -> dict[str, Any]:
    before_mb = [mb for when_s, mb in watch.memory if when_s < BEFORE_S]
    return {
        "machine": machine(), "minutes": options.minutes,
        "readers": READERS, "heads": HEADS, "events": EVENTS, "uploads": UPLOADS,
        "memory_before_mb": before_mb[-1], "memory_most_mb": max(mb for _, mb in watch.memory),
        "memory_after_mb": watch.memory[-1][1], "files_before_mb": watch.disk[0][1],
        "files_most_mb": max(mb for _, mb in watch.disk), "files_after_mb": watch.disk[-1][1],
        "page_most_s": max(watch.answers_s), "ends": dict(ends), "continues": works,
        **watch.curves(),
    }  # fmt: skip


def came_back(result: dict[str, Any]) -> bool:
    grown_mb = result["memory_after_mb"] - result["memory_before_mb"]
    return grown_mb <= SPARE_MB and result["files_after_mb"] <= result["files_before_mb"] and result["continues"]


def plot(result: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 3.5))
    axes.plot(*zip(*result["memory"]), color="tab:blue", label="memory of the page, MB")
    axes.plot(*zip(*result["disk"]), color="tab:orange", label="its files, MB")
    axes.axvspan(BEFORE_S, BEFORE_S + 60.0 * result["minutes"], color="0.92", label="slow clients")
    axes.set(xlabel="seconds", ylim=(0, 1.25 * result["memory_most_mb"]))
    axes.legend(loc="upper center", ncol=3)
    kinds = f"{READERS} slow readers, {HEADS} half heads, {EVENTS} who fetch nothing, {UPLOADS} endless uploads"
    axes.set_title(kinds, fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "docs" / "patience", help="without a suffix")
    options = parser.parse_args()
    result = run(options)
    publish(result, options.out, plot)
    return 0 if came_back(result) else 1


if __name__ == "__main__":
    sys.exit(main())
