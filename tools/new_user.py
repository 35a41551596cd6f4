"""Five tasks on the page, done as somebody would who knows only its address: by what can be read on it.

    python tools/new_user.py [--pictures DIR]     # writes docs/results/new_user.json and new_user.md

The page is served with the embedded checkpoint. Each task is checked by what came of it; clicks are counted by the
browser itself, seconds from the first step to the result. The bar numbers and beats are drawn, not written, so they
are found by their place.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import soundfile
from page_probe import ROOT, hosting, machine

sys.path.insert(0, str(ROOT / "tests"))

from page_server import browsing, open_page

RESULTS = ROOT / "docs" / "results"
WAIT_MS = 180_000
COUNT_CLICKS = "window.clicks = 0; addEventListener('click', (event) => { clicks += event.isTrusted; }, true)"


@dataclass
class Record:
    """What a task took, and how it was seen to be done."""

    task: str
    steps: list[str] = field(default_factory=list)
    clicks: int = 0
    seconds: float = 0.0
    result: str = ""


class Visitor:
    """Presses what can be read on the page, and writes down what was done."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.record = Record("")

    def press(self, text: str, near: str | None = None) -> None:
        """The visible button of this text; `near` another text that stands in the same row."""
        self.record.steps.append(f"press “{text}”" + (f" beside “{near}”" if near else ""))
        self._find(text, near).click()

    def press_bar(self, bar: int) -> None:
        """A number above the timeline."""
        self.record.steps.append(f"press the bar number “{bar}”")
        place = self.page.evaluate(
            "(bar) => { const { timeline, state } = melformer, width = timeline.beatWidth * state.loop.beats_per_bar;"
            "timeline.scroll.scrollLeft = Math.max(0, (bar - 2) * width);"
            "return (bar - 0.6) * width - timeline.scroll.scrollLeft; }",
            bar,
        )
        self.page.locator("[data-scroll]").click(position={"x": place, "y": 12})

    def choose_file(self, path: Path) -> None:
        with self.page.expect_file_chooser() as chooser:
            self.press("Choose a loop")
        self.record.steps.append(f"choose the file “{path.name}”")
        chooser.value.set_files(str(path))

    def wait(self, condition: str) -> None:
        self.page.wait_for_function(condition, timeout=WAIT_MS)

    def _find(self, text: str, near: str | None) -> Any:
        scope = self.page
        if near:
            row = self.page.locator("div, li").filter(has=self.page.get_by_text(near, exact=True))
            scope = row.filter(has=self.page.get_by_text(text, exact=True)).last
        return scope.locator("button:visible, label:visible, summary:visible").filter(has_text=text).first


def hear_an_example(visitor: Visitor, folder: Path) -> str:
    visitor.press("House")
    visitor.wait("melformer.state.loop.name.startsWith('house')")
    visitor.press("Continue")
    visitor.wait("document.querySelector('[data-status]').textContent.startsWith('New part')")
    heard = visitor.page.inner_text("[data-status]")
    visitor.press("Stop")
    return f"the page says “{heard}”"


def set_the_tempo_right(visitor: Visitor, folder: Path) -> str:
    """The file's name says half of the tempo that it has."""
    shutil.copy(ROOT / "examples" / "house_122bpm.flac", loop := folder / "my loop 61bpm.flac")
    visitor.choose_file(loop)
    visitor.wait("melformer.state.loop.name === 'my loop 61bpm'")
    before = visitor.page.input_value("#mf-bpm")
    visitor.press("2×")
    visitor.wait("melformer.state.loop.bpm === 122")
    return f"{before} BPM became {visitor.page.input_value('#mf-bpm')}, 4 bars"


def change_the_bass(visitor: Visitor, folder: Path) -> str:
    visitor.press("House")
    visitor.wait("melformer.state.loop.name.startsWith('house') && melformer.state.store.take <= 0")
    visitor.press("Continue")
    visitor.wait("melformer.state.store.nNew >= 16 && !melformer.state.run")
    visitor.wait("melformer.state.store.beats.every((beat) => beat.stems)")
    visitor.page.evaluate(f"window.before = {STEMS_NOW}")
    visitor.press("New", near="Bass")
    visitor.wait("melformer.state.run")
    visitor.wait("!melformer.state.run && melformer.state.store.nNew === 16")
    same = visitor.page.evaluate(f"{STEMS_NOW}.map((samples, k) => samples === before[k])")
    assert same == [True, False], same
    return "the new take has the same drums, sample for sample, and another bass"


# Of the new beats but the last, whose end leads over to what would follow.
STEMS_NOW = """["drums", "bass"].map((name) =>
  melformer.state.store.beats.slice(16, -1).map((beat) => beat.stems[name] ? beat.stems[name].join() : "").join())"""


def redo_bar_7(visitor: Visitor, folder: Path) -> str:
    page = visitor.page
    page.evaluate("window.before = melformer.state.store.beats.map((beat) => beat.pcm.join())")
    visitor.press_bar(7)
    visitor.press("Try bar 7 again")
    number = page.evaluate("melformer.state.view.takes.at(-1).number")
    visitor.wait(f"melformer.state.store.take > {number} && melformer.player.playing")
    changed = page.evaluate(
        "melformer.state.store.beats.map((beat, k) => beat.pcm.join() === before[k] ? -1 : k).filter((k) => k >= 0)"
    )
    assert set(changed) <= set(range(23, 28)) and set(changed) & set(range(24, 28)), changed  # 23: what leads into it
    return (
        "beats 25 to 28, which are bar 7, sound otherwise; before and after them nothing but 10 ms of lead-in changed"
    )


def take_the_stems_home(visitor: Visitor, folder: Path) -> str:
    with visitor.page.expect_download(timeout=WAIT_MS) as download:
        visitor.press("Stems")
    daw = folder / "DAW"
    download.value.save_as(folder / download.value.suggested_filename)
    with zipfile.ZipFile(folder / download.value.suggested_filename) as archive:
        archive.extractall(daw)
    files = sorted(daw.iterdir())
    lengths = {soundfile.info(path).frames for path in files}
    assert len(files) == 3 and len(lengths) == 1, files
    return ", ".join(path.name for path in files)


TASKS: dict[str, Callable[[Visitor, Path], str]] = {
    "Hear an example go on": hear_an_example,
    "Load a loop with the wrong tempo and set it right": set_the_tempo_right,
    "Keep the drums and change the bass": change_the_bass,
    "Redo bar 7": redo_bar_7,
    "Get the result into a DAW's folder as stems": take_the_stems_home,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="a folder for a picture after each task")
    options = parser.parse_args()
    records = []
    with hosting() as host, browsing() as browser, tempfile.TemporaryDirectory() as name:
        page = open_page(browser, host.url, viewport={"width": 1440, "height": 900})
        page.evaluate(COUNT_CLICKS)
        visitor = Visitor(page)
        for number, (task, run) in enumerate(TASKS.items(), 1):
            visitor.record = Record(task)
            clicks, began = page.evaluate("clicks"), time.monotonic()
            visitor.record.result = run(visitor, Path(name))
            visitor.record.seconds = round(time.monotonic() - began, 1)
            visitor.record.clicks = page.evaluate("clicks") - clicks
            records.append(visitor.record)
            print(asdict(visitor.record), file=sys.stderr)
            if options.pictures:
                options.pictures.mkdir(parents=True, exist_ok=True)
                page.screenshot(path=options.pictures / f"task{number}.png")
        assert page.faults == []
    write(records)


def write(records: list[Record]) -> None:
    facts = {"command": "python tools/new_user.py", "machine": machine(), "date": str(date.today())}
    tasks = [asdict(record) for record in records]
    (RESULTS / "new_user.json").write_text(json.dumps({**facts, "tasks": tasks}, indent=1, ensure_ascii=False) + "\n")
    rows = [
        f"| {one.task} | {'; '.join(one.steps)} | {one.clicks} | {one.seconds:g} | {one.result} |" for one in records
    ]
    lines = [
        "# Five tasks by somebody who is new to the page",
        "",
        "What is pressed was found by its visible text. Seconds run from the first step to the result, and hold the",
        f"time in which the loop and the new part play. `{facts['command']}`, {facts['machine']}, {facts['date']}.",
        "",
        "| task | steps | clicks | seconds | result |",
        "|---|---|---|---|---|",
        *rows,
    ]
    (RESULTS / "new_user.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
