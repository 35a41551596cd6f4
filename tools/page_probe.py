"""The page as visitors get it: served by a process of its own, watched from outside and from a real Chromium."""

import json
import os
import platform
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STARTS_WITHIN_S = 300.0
ANSWERS_WITHIN_S = 600.0
SAMPLE_S, KNOCK_S = 0.5, 2.0
TRACK_S = 300
OWN_FUNCTION = "showProgress"  # of the page's own script, and of no other

# Long tasks since the probe was set, and four times a second how much is ready ahead of what is heard.
PROBE = """
() => {
  window.probe = { tasks: [], ahead: [], since: performance.now() };
  new PerformanceObserver((list) => {
    for (const task of list.getEntries()) if (task.startTime >= probe.since) probe.tasks.push(task.duration);
  }).observe({ type: "longtask" });
  setInterval(() => {
    if (melformer.player.playing && melformer.state.run) probe.ahead.push(melformer.player.aheadSeconds());
  }, 250);
}
"""

# Replaces the recorder of `page_server.TAP`: only when the click came, and when the first sound left after it.
FIRST_SOUND = """
() => {
  window.first = {};
  document.addEventListener("click", (event) => { first = { clicked: event.timeStamp }; }, true);
  window.tapped = { push(frames) {
    if (first.clicked && !first.heard && frames.some((x) => x !== 0)) first.heard = performance.now();
  } };
}
"""


@dataclass
class Host:
    """A page served by `app.py`, with the embedded checkpoint unless MELFORMER_MODEL names another."""

    url: str
    process: "subprocess.Popen[bytes]"

    def memory_mb(self) -> float:
        """Resident memory of the server, MB (Linux)."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024 / 1e6
        raise RuntimeError("the server is gone")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def hosting(files: Path | None = None) -> Iterator[Host]:
    """Start the page, with its files in a folder, and wait until it answers."""
    port = free_port()
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False"}
    if files is not None:
        environment["GRADIO_TEMP_DIR"] = str(files)
    process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    host = Host(f"http://127.0.0.1:{port}", process)
    try:
        _wait_for(host)
        yield host
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_for(host: Host) -> None:
    end = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < end and host.process.poll() is None:
        try:
            with urllib.request.urlopen(host.url, timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.05)
    raise RuntimeError("the page did not start")


@dataclass
class Watch:
    """A page's memory, its files and how long `GET /` takes, as they go on; safe to read meanwhile."""

    begun_s: float = field(default_factory=time.monotonic)
    memory: list[tuple[float, float]] = field(default_factory=list)  # s, MB
    disk: list[tuple[float, float]] = field(default_factory=list)  # s, MB
    answers_s: list[float] = field(default_factory=list)

    def look(self, host: Host, files: Path) -> None:
        now_s = time.monotonic() - self.begun_s
        self.memory.append((now_s, host.memory_mb()))
        self.disk.append((now_s, files_mb(files)))

    def curves(self) -> dict[str, list[tuple[float, float]]]:
        """Memory and disk over time, to be written."""
        told = {"memory": self.memory, "disk": self.disk}
        return {name: [(round(when_s, 1), round(mb, 1)) for when_s, mb in curve] for name, curve in told.items()}

    def knock(self, host: Host) -> None:
        began_s = time.monotonic()
        with urllib.request.urlopen(host.url, timeout=ANSWERS_WITHIN_S):
            self.answers_s.append(time.monotonic() - began_s)


@contextmanager
def watching(host: Host, files: Path) -> Iterator[Watch]:
    """Look at the page twice a second and open it every two, until the block ends."""
    watch, done = Watch(), threading.Event()

    def again(todo: Callable[[], None], pause_s: float) -> None:
        while not done.wait(pause_s):
            todo()

    watch.look(host, files)
    tasks = ((lambda: watch.look(host, files), SAMPLE_S), (lambda: watch.knock(host), KNOCK_S))
    threads = [threading.Thread(target=again, args=task, daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    try:
        yield watch
    finally:
        done.set()
        for thread in threads:
            thread.join(ANSWERS_WITHIN_S)


def publish(result: dict[str, Any], out: Path, plot: Callable[[dict[str, Any], Path], None]) -> None:
    """Write a result and its picture, and print what is no curve."""
    out.with_suffix(".json").write_text(json.dumps(result) + "\n", encoding="utf-8")
    plot(result, out.with_suffix(".png"))
    print(json.dumps({name: value for name, value in result.items() if name not in ("memory", "disk")}, indent=2))


def files_mb(folder: Path) -> float:
    """What all files of a folder fill, as far as they stay while one looks, MB."""
    n_bytes = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                n_bytes += Path(place, name).lstat().st_size
    return n_bytes / 1e6


def write_track(folder: Path) -> Path:
    """Five minutes of an example, over and over, as an Ogg of some MB."""
    import soundfile

    example = next(path for path in sorted((ROOT / "examples").glob("*.flac")) if "120" in path.name)
    samples, rate = soundfile.read(example, dtype="float32", always_2d=True)
    path = folder / "track_120bpm.ogg"
    with soundfile.SoundFile(path, "w", rate, samples.shape[1], "VORBIS", format="OGG") as file:
        for _ in range(round(TRACK_S * rate / len(samples))):
            file.write(samples)
    return path


def upload(host: Host, path: Path) -> str:
    """The name of a file, once the page has it."""
    import httpx

    with path.open("rb") as file:
        answer = httpx.post(f"{host.url}/gradio_api/upload", files={"files": (path.name, file)}, timeout=60.0)
    return str(answer.raise_for_status().json()[0])


def choose_example(page: Any, name: str) -> None:
    """Take one of the example loops, by the beginning of its button's label."""
    page.locator(f"[data-card^='{name}' i] .mf-card-open").click()
    page.wait_for_selector("[data-act=continue]:enabled", timeout=60_000)


def ask_for(page: Any, n_beats: int | None, lead: str = "all") -> None:
    """Set how many beats are added (None: endless), and how much of the loop is played before them."""
    page.evaluate("document.querySelector('details.mf-more').open = true")  # the seed is in it
    page.select_option("#mf-lead", lead)
    page.select_option("[data-unit]", "endless" if n_beats is None else "beats")
    if n_beats is not None:
        page.fill("#mf-count", str(n_beats))


class Counters:
    """Chromium's own counters for a page, from now on: CPU seconds of script and of all tasks, which a busy machine
    does not lengthen, and bytes of its heap."""

    def __init__(self, page: Any) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})
        self._start = self._read()

    def _read(self) -> dict[str, float]:
        return {item["name"]: item["value"] for item in self._session.send("Performance.getMetrics")["metrics"]}

    def since(self, name: str) -> float:
        """How much a counter has grown."""
        return self._read()[name] - self._start[name]

    def now(self, name: str) -> float:
        return self._read()[name]


def own_script_share(page: Any, seconds: float) -> float:
    """Of all script that runs in so many seconds the share that is the page's own, with whatever it calls and all
    collecting of garbage.

    Chromium's sampling profiler tells whose code runs: the rest is Gradio's.
    """
    session = page.context.new_cdp_session(page)
    session.send("Profiler.enable")
    session.send("Profiler.setSamplingInterval", {"interval": 200})
    session.send("Profiler.start")
    time.sleep(seconds)
    profile = session.send("Profiler.stop")["profile"]
    nodes = {node["id"]: node for node in profile["nodes"]}
    parents = {child: node["id"] for node in profile["nodes"] for child in node.get("children", [])}
    ours = {f["scriptId"] for f in (n["callFrame"] for n in nodes.values()) if f["functionName"] == OWN_FUNCTION}
    assert len(ours) == 1, f"{len(ours)} scripts have a function {OWN_FUNCTION}"

    def is_ours(node: int | None) -> bool:
        while node is not None:
            frame = nodes[node]["callFrame"]
            if frame["scriptId"] in ours or frame["functionName"] == "(garbage collector)":
                return True
            node = parents.get(node)
        return False

    own = {node for node in nodes if is_ours(node)}
    script = {
        k for k, node in nodes.items() if node["callFrame"]["functionName"] not in ("(idle)", "(program)", "(root)")
    }
    spent = list(zip(profile["samples"], profile["timeDeltas"]))
    return sum(d for node, d in spent if node in own) / sum(d for node, d in spent if node in script)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine() -> str:
    """The processor, its cores, and how busy the machine was in the last minute."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":")[1].strip()
            break
    return f"{os.cpu_count()} cores of {model}, load {os.getloadavg()[0]:.1f}"


def report(what: str, facts: dict[str, Any]) -> None:
    """One line of JSON, and the machine in it."""
    rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in facts.items()}
    print(json.dumps({"what": what, **rounded, "machine": machine()}, ensure_ascii=False), flush=True)
