"""What the page costs and how fast it is, in a real Chromium, with the checkpoint that is shipped.

    python tools/measure_page.py start                  # from nothing to a page that can be used
    python tools/measure_page.py sound --times 5        # from a click to the first sound
    python tools/measure_page.py endless --minutes 10   # underruns, what is ready ahead, script per beat, long tasks
    python tools/measure_page.py many --times 100       # memory after many continuations
    python tools/measure_page.py people --count 3       # several visitors at once, each with sound of their own

Each prints one line of JSON with the machine and its load, and writes it with `-o`; docs/how-to/host.md tells what came
out.
"""

import argparse
import base64
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from gradio_client import Client, handle_file
from page_probe import (
    FIRST_SOUND,
    PROBE,
    ROOT,
    Counters,
    Host,
    ask_for,
    choose_example,
    hosting,
    own_script_share,
    percentile,
    report,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from page_server import browsing, open_page

from melformer.evaluate.results import write_results
from melformer.stems import STEMS

EXAMPLES = {"Bossa": "bossa_nova_120bpm.flac", "House": "house_122bpm.flac", "Techno": "techno_132bpm.flac"}
PROFILED_S = 30.0  # after the measuring, since a profiler slows what it watches
NEW_EVERY_S = 30.0
STEADY_AFTER = 10  # continuations until every lazy part is loaded and every pool has its size
WAIT_MS = 600_000


def measure_start(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds from the command to an answer, to a page that can be used, and to a first sound with an example."""
    with browsing() as browser:
        begin = time.monotonic()
        with hosting() as host:
            answers = time.monotonic() - begin
            page = open_page(browser, host.url, tap=True)
            usable = time.monotonic() - begin
            page.evaluate(FIRST_SOUND)
            choose_example(page, "Bossa")
            page.click("[data-act=continue]")
            page.wait_for_function("first.heard", timeout=WAIT_MS)
            sounds = time.monotonic() - begin
    return {"answers_s": answers, "usable_s": usable, "sound_s": sounds}


def measure_sound(options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds from a click on Continue to the first sample that is not silence, and to the first new beat."""
    sounds, beats = [], []
    with hosting() as host, browsing() as browser:
        page = open_page(browser, host.url, tap=True)
        choose_example(page, "Bossa")
        ask_for(page, 4)
        page.evaluate(FIRST_SOUND)
        for _ in range(options.times + 1):
            choose_example(page, "Bossa")  # after a take, the main button extends it
            page.click("[data-act=continue]")
            page.wait_for_function("melformer.state.store.nNew > 0", timeout=WAIT_MS)
            beats.append(page.evaluate("performance.now() - first.clicked"))
            page.wait_for_function("first.heard", timeout=WAIT_MS)
            sounds.append(page.evaluate("first.heard - first.clicked"))
            _end(page)
    first, *warm = sounds
    return {
        "first_ms": first, "warm_median_ms": percentile(warm, 0.5), "warm_most_ms": max(warm),
        "new_beat_median_ms": percentile(beats[1:], 0.5), "times": options.times,
    }  # fmt: skip


def measure_endless(options: argparse.Namespace) -> dict[str, Any]:
    """Play on and on from the example at 120 BPM, with another line of a stem now and then, and count what a listener
    would have noticed."""
    with hosting() as host, browsing() as browser:
        page = open_page(browser, host.url)
        choose_example(page, "Bossa")
        ask_for(page, None)
        page.click("[data-act=continue]")
        page.wait_for_function("melformer.state.store.nNew >= 8 && melformer.player.playing", timeout=WAIT_MS)
        page.evaluate(PROBE)
        counters, memory, made = Counters(page), host.memory_mb(), page.evaluate("melformer.state.store.nNew")
        clock = page.evaluate("[performance.now() / 1000, melformer.player.context.currentTime]")
        begun = time.monotonic()
        end = begun + 60 * options.minutes
        presses = 0
        while time.monotonic() < end and page.evaluate("Boolean(melformer.state.run)"):
            time.sleep(1)
            if time.monotonic() > begun + (presses + 1) * NEW_EVERY_S:
                page.click(f"[data-vary={STEMS[presses % len(STEMS)]}]")
                presses += 1
        script_s, task_s = counters.since("ScriptDuration"), counters.since("TaskDuration")
        heap_mb = counters.now("JSHeapUsedSize") / 1e6
        seen = page.evaluate(
            """({ ...probe, costs: melformer.state.costs, beats: melformer.state.store.nNew,
                  lanes: melformer.timeline.lanes.length,
                  seconds: melformer.player.at / melformer.state.store.rate,
                  silence: melformer.player.starved / melformer.state.store.rate,
                  clock: [performance.now() / 1000, melformer.player.context.currentTime] })"""
        )
        grown = host.memory_mb() - memory
        n_beats, own = seen["beats"] - made, own_script_share(page, PROFILED_S)
        _end(page)
        faults = page.faults
    wall, sound = (seen["clock"][k] - clock[k] for k in range(2))
    return {
        "minutes": wall / 60, "beats": n_beats, "new_lines": presses, "silence_s": seen["silence"],
        "device_behind_s": wall - sound,
        "ahead_p5_s": percentile(seen["ahead"], 0.05), "ahead_least_s": min(seen["ahead"]),
        "ahead_median_s": percentile(seen["ahead"], 0.5), "script_ms_a_beat": 1000 * script_s / n_beats,
        "own_script_ms_a_beat": 1000 * own * script_s / n_beats, "lanes": seen["lanes"],
        "all_tasks_ms_a_beat": 1000 * task_s / n_beats, "message_p95_ms": percentile(seen["costs"], 0.95),
        "tasks_over_100_ms": sum(task > 100 for task in seen["tasks"]),
        "longest_task_ms": max(seen["tasks"], default=0.0),
        "server_grew_mb": grown, "page_heap_mb": heap_mb, "faults": faults,
    }  # fmt: skip


def measure_many(options: argparse.Namespace) -> dict[str, Any]:
    """One visitor continues again and again; memory of the server after the first ones and at the end."""
    grown = []
    with hosting() as host, browsing() as browser:
        page = open_page(browser, host.url)
        choose_example(page, "Bossa")
        ask_for(page, options.beats, "bar")
        for k in range(options.times):
            choose_example(page, "Bossa")
            page.fill("#mf-seed", str(k))
            page.click("[data-act=continue]")
            page.wait_for_function("!melformer.state.run && melformer.state.view.takes.length", timeout=WAIT_MS)
            _end(page)
            grown.append(host.memory_mb())
        takes = page.evaluate("melformer.state.view.takes.map((take) => [take.seed, take.n_beats])")
        error = page.locator("[data-error]").inner_text()
        assert takes[-1] == [options.times - 1, options.beats], takes[-1]
    steady = grown[min(STEADY_AFTER, len(grown)) - 1]
    return {
        "times": options.times, "beats": options.beats, "first_mb": grown[0], "steady_mb": steady,
        "last_mb": grown[-1], "grew_mb": grown[-1] - steady, "error": error, "takes_kept": len(takes),
    }  # fmt: skip


def measure_people(options: argparse.Namespace) -> dict[str, Any]:
    """Visitors who press Continue at the same time; what each heard must be what the same wish gives alone."""
    with hosting() as host, browsing() as browser:
        pages = [open_page(browser, host.url) for _ in range(options.count)]
        names = [list(EXAMPLES)[k % len(EXAMPLES)] for k in range(options.count)]
        for k, (page, name) in enumerate(zip(pages, names)):
            choose_example(page, name)
            ask_for(page, options.beats)
            page.fill("#mf-seed", str(100 + k))
        memory, most_at_once = [host.memory_mb()], 0
        for _ in range(options.rounds):
            for page, name in zip(pages, names):
                choose_example(page, name)
                page.click("[data-act=continue]")
            while any(page.evaluate("Boolean(melformer.state.run)") for page in pages):
                most_at_once = max(most_at_once, sum(page.evaluate("melformer.player.playing") for page in pages))
                time.sleep(0.2)
            for page in pages:
                _end(page)
            memory.append(host.memory_mb())
        errors = [page.locator("[data-error]").inner_text() for page in pages]
        silence = [page.evaluate("melformer.player.starved / melformer.state.store.rate") for page in pages]
        heard = [_new_part(page) for page in pages]
        alone = [_alone(host, EXAMPLES[name], options.beats, 100 + k) for k, name in enumerate(names)]
    same = [bool(np.array_equal(a, b)) for a, b in zip(heard, alone)]
    return {
        "count": options.count, "beats": options.beats, "heard_what_is_theirs": same, "errors": errors,
        "most_playing_at_once": most_at_once, "silence_s": silence, "first_grew_mb": memory[1] - memory[0],
        "later_grew_mb": memory[-1] - memory[1],
    }  # fmt: skip


def _new_part(page: Any) -> np.ndarray:
    """The new beats that a page holds: int16 (n_samples, n_channels)."""
    text, channels = page.evaluate(
        """() => {
          const { store } = melformer.state, bytes = [];
          for (const beat of store.beats) if (beat.isNew) bytes.push(new Uint8Array(beat.pcm.buffer.slice(0)));
          let text = "";
          for (const part of bytes) {
            for (let k = 0; k < part.length; k += 32768) {
              text += String.fromCharCode.apply(null, part.subarray(k, k + 32768));
            }
          }
          return [btoa(text), store.channels];
        }"""
    )
    return np.frombuffer(base64.b64decode(text), "<i2").reshape(-1, channels)


def _alone(host: Host, example: str, n_beats: int, seed: int) -> np.ndarray:
    client = Client(host.url, verbose=False)
    loop = handle_file(str(ROOT / "examples" / example))
    answer = client.predict(loop, n_beats=n_beats, seed=seed, part="new", api_name="/continue_whole")
    path = Path(answer if isinstance(answer, str) else answer["path"])
    return soundfile.read(path, dtype="int16", always_2d=True)[0]


def _end(page: Any) -> None:
    page.evaluate("document.querySelector('[data-act=stop]').click()")  # also when the sound ends at this moment
    page.wait_for_function("!melformer.state.run && !melformer.player.playing", timeout=WAIT_MS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    table: list[tuple[str, Callable[[argparse.Namespace], dict[str, Any]], dict[str, float]]] = [
        ("start", measure_start, {}),
        ("sound", measure_sound, {"times": 5}),
        ("endless", measure_endless, {"minutes": 10.0}),
        ("many", measure_many, {"times": 100, "beats": 8}),
        ("people", measure_people, {"count": 3, "beats": 24, "rounds": 3}),
    ]
    for name, run, numbers in table:
        command = commands.add_parser(name, help=(run.__doc__ or "").splitlines()[0])
        command.set_defaults(run=run, name=name)
        command.add_argument("-o", dest="out", type=Path, metavar="FILE", help="write what came out as JSON")
        for option, default in numbers.items():
            command.add_argument(f"--{option}", type=type(default), default=default)
    options = parser.parse_args()
    facts = options.run(options)
    report(options.name, facts)
    if options.out:
        write_results(options.out, " ".join(["python", f"tools/{Path(__file__).name}", *sys.argv[1:]]), facts)


if __name__ == "__main__":
    main()
