"""Serve the page and let scripted users at it for an hour: `make soak`, or `python tools/soak.py --minutes 60`.

The page runs as a host runs it, in a process of its own, with the embedded checkpoint. Some users listen to a stream to
its end, some ask for a file, for stems or for several takes, some leave in the middle, some send rubbish; some use the
page: they draw a lane anew while it plays, compose bars again, undo and redo, and take the stems away. Written are the
memory of the page's process, the seconds to the first beat and between beats, and what went wrong, as JSON and as a
picture. The exit status is 1 when a user met anything but music or a sentence that says why not, or when the page
ended.
"""

import argparse
import json
import os
import platform
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from gradio_client import Client, handle_file
from page_visitor import Visitor

from melformer.stems import STEMS

ROOT = Path(__file__).resolve().parents[1]
LOOPS = sorted((ROOT / "examples").glob("*.flac"))
EXPECTED = ("lease try again", "Too many", "The upload didn't arrive")
SAMPLE_S = 5.0


class Record:
    """What all users and the observer saw, safe to write from many threads."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.lock = threading.Lock()
        self.memory: list[tuple[float, float]] = []  # minutes, MB
        self.first_beats: list[tuple[float, float]] = []  # minutes, seconds
        self.beats: list[float] = []  # seconds between beats
        self.events: Counter[str] = Counter()
        self.surprises: list[str] = []

    def minutes(self) -> float:
        return (time.monotonic() - self.begun) / 60.0

    def note(self, event: str) -> None:
        with self.lock:
            self.events[event] += 1

    def surprise(self, error: BaseException) -> None:
        words = str(error)
        if any(part in words for part in EXPECTED):
            self.note("asked to come back")
            return
        with self.lock:
            self.events["surprises"] += 1
            self.surprises.append(f"{self.minutes():.1f} min: {type(error).__name__}: {words[:300]}")


class User(threading.Thread):
    """Comes back again and again, each time with another wish."""

    def __init__(self, url: str, record: Record, number: int, until: float) -> None:
        super().__init__(daemon=True)
        self.url, self.record, self.rng, self.until = url, record, random.Random(number), until
        self.number, self.n_visits = number, 0

    def run(self) -> None:
        while time.monotonic() < self.until:
            visits = [self.listen, self.fetch, self.leave, self.rubbish, self.stems, self.takes, self.lanes]
            visit = self.rng.choices(visits, [5, 2, 2, 1, 1, 1, 4])[0]
            self.n_visits += 1
            try:
                visit(Client(self.url, verbose=False))
                self.record.note(visit.__name__)
            except Exception as error:  # noqa: BLE001  # whatever a user meets is what we look for
                self.record.surprise(error)
            time.sleep(self.rng.uniform(0.5, 4.0))

    def request(self) -> dict[str, Any]:
        return {"n_beats": self.rng.choice([4, 8, 16, 32]), "seed": self.rng.randrange(2**31)}

    def stream(self, client: Client, most: int) -> None:
        asked, last, n_beats = time.monotonic(), None, 0
        job = client.submit(handle_file(self.rng.choice(LOOPS)), **self.request(), api_name="/continue")
        for message in job:
            now = time.monotonic()
            if message["kind"] != "beat":
                continue
            with self.record.lock:
                if last is None:
                    self.record.first_beats.append((self.record.minutes(), now - asked))
                else:
                    self.record.beats.append(now - last)
            last, n_beats = now, n_beats + 1
            if n_beats == most:
                job.cancel()
                return

    def listen(self, client: Client) -> None:
        self.stream(client, 10_000)

    def leave(self, client: Client) -> None:
        self.stream(client, self.rng.randint(1, 3))

    def fetch(self, client: Client) -> None:
        loop, kind = handle_file(self.rng.choice(LOOPS)), self.rng.choice(["wav", "wav24", "flac", "tiaf"])
        answer = client.predict(loop, **self.request(), kind=kind, api_name="/continue_whole")
        assert Path(answer if isinstance(answer, str) else answer["path"]).stat().st_size > 1_000

    def stems(self, client: Client) -> None:
        answer = client.predict(handle_file(self.rng.choice(LOOPS)), api_name="/stems")
        assert Path(answer if isinstance(answer, str) else answer["path"]).stat().st_size > 100_000

    def takes(self, client: Client) -> None:
        wish = {"n_takes": 3, "keep": ["drums"], "n_beats": 8, "seed": self.rng.randrange(2**31)}
        client.predict(handle_file(self.rng.choice(LOOPS)), **wish, api_name="/takes")

    def lanes(self, client: Client) -> None:
        """On the page: another bass line while a stream plays, then two bars of the take composed anew."""
        visitor = Visitor(self.url, client.config, f"soak{self.number}x{self.n_visits}")
        ask(visitor, "example", name=self.rng.choice(LOOPS).name)
        n_beats = 0
        for message in visitor.stream(run=1, n_beats=16, seed=self.rng.randrange(2**31), stems=True):
            if message["kind"] == "error":
                raise RuntimeError(message["message"])
            n_beats += message["kind"] == "beat"
            if message["kind"] == "beat" and n_beats == 3:
                ask(visitor, "steer", redraw=self.rng.choice(STEMS))
        stem = self.rng.choice([None, *STEMS])
        ask(visitor, "again", take=1, first=4, end=12, stem=stem, seed=self.rng.randrange(2**31))
        ask(visitor, "undo")
        ask(visitor, "redo")
        ask(visitor, "export_stems", take=1)
        ask(visitor, "export", take=1, kind=self.rng.choice(["wav", "flac", "tiaf"]))

    def rubbish(self, client: Client) -> None:
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            file.write(self.rng.randbytes(self.rng.choice([0, 100, 100_000])))
            file.flush()
            try:
                client.predict(handle_file(file.name), n_beats=2, api_name="/continue_whole")
            except Exception as error:
                if ".wav" not in str(error) and "file" not in str(error):
                    raise
            else:
                raise AssertionError("rubbish was continued")


def ask(visitor: Visitor, what: str, **data: Any) -> Any:
    """What the page's server answers. Errors: RuntimeError with its sentence."""
    answer = visitor.call(what, **data)
    if "ok" not in answer:
        raise RuntimeError(answer["error"])
    return answer["ok"]


def serve(port: int, folder: Path) -> subprocess.Popen[bytes]:
    """The page in a process of its own, its log in `folder`."""
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(folder / "files")}
    environment |= {"GRADIO_ANALYTICS_ENABLED": "False", "OMP_NUM_THREADS": "1"}
    with open(folder / "log.txt", "wb") as log:
        return subprocess.Popen([sys.executable, ROOT / "app.py"], stdout=log, stderr=log, env=environment)


def wait_for(url: str, seconds: float = 180.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            httpx.get(url, timeout=5).raise_for_status()
            return
        except httpx.HTTPError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def soak(minutes: float, n_users: int) -> dict[str, Any]:
    """Run it all and give the result."""
    with tempfile.TemporaryDirectory(prefix="melformer-soak-") as name, socket.socket() as probe:
        folder = Path(name)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        page = serve(port, folder)
        try:
            wait_for(f"http://127.0.0.1:{port}")
            record = Record()
            until = time.monotonic() + 60.0 * minutes
            users = [User(f"http://127.0.0.1:{port}", record, k, until) for k in range(n_users)]
            for user in users:
                user.start()
            while any(user.is_alive() for user in users) and time.monotonic() < until + 300.0 and page.poll() is None:
                record.memory.append((record.minutes(), resident_mb(page.pid)))
                time.sleep(SAMPLE_S)
            ended = page.poll()
            for user in users:
                if user.is_alive():
                    record.surprise(TimeoutError("a user was still waiting five minutes after the end"))
            files = sum(path.stat().st_size for path in (folder / "files").rglob("*") if path.is_file()) / 2**20
            log = (folder / "log.txt").read_text(errors="replace")
        finally:
            page.terminate()
            page.wait(30)
        left = sorted(path.name for path in (folder / "files").glob("melformer-*"))
        return summary(record, minutes, n_users) | {
            "page_ended": ended, "files_mb": round(files, 1), "tracebacks": log.count("Traceback"),
            "log": log[-4_000:] if "Traceback" in log else "", "left_after_sigterm": left,
        }  # fmt: skip


def summary(record: Record, minutes: float, n_users: int) -> dict[str, Any]:
    firsts, beats = sorted(seconds for _, seconds in record.first_beats), sorted(record.beats)
    settled = [mb for at, mb in record.memory if at > 0.1 * minutes] or [mb for _, mb in record.memory]
    tenth = max(1, len(settled) // 10)
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "load_after": round(os.getloadavg()[1], 2), "minutes": minutes, "users": n_users,
        "visits": dict(record.events), "surprises": record.surprises,
        "first_beat_s": _percentiles(firsts), "beat_s": _percentiles(beats),
        "memory_mb": {"early": round(statistics.median(settled[:tenth]), 1), "most": round(max(settled), 1),
                      "late": round(statistics.median(settled[-tenth:]), 1)},
        "curves": {"memory_mb": record.memory, "first_beat_s": record.first_beats},
    }  # fmt: skip


def _percentiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    return {name: round(values[min(len(values) - 1, int(share * len(values)))], 3)
            for name, share in (("median", 0.5), ("p95", 0.95), ("most", 1.0))} | {"n": len(values)}  # fmt: skip


def plot(result: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(8, 5), sharex=True)
    above.plot(*zip(*result["curves"]["memory_mb"]), lw=1.2)
    above.set(ylabel="memory, MB", ylim=(0, None))
    if result["curves"]["first_beat_s"]:
        below.plot(*zip(*result["curves"]["first_beat_s"]), ".", ms=3)
    below.set(ylabel="to the first beat, s", xlabel="minutes", ylim=(0, None))
    n_visits = sum(result["visits"].values())
    above.set_title(f"{result['users']} users, {n_visits} visits, {len(result['surprises'])} surprises", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--users", type=int, default=3)
    parser.add_argument("-o", dest="out", type=Path, default=ROOT / "docs" / "soak.png", help="picture; JSON beside")
    args = parser.parse_args()
    result = soak(args.minutes, args.users)
    plot(result, args.out)
    args.out.with_suffix(".json").write_text(json.dumps(result) + "\n", encoding="utf-8")
    print(json.dumps({name: value for name, value in result.items() if name != "curves"}, indent=2))
    return int(bool(result["surprises"]) or result["page_ended"] is not None or result["tracebacks"] > 0)


if __name__ == "__main__":
    sys.exit(main())
