"""The page looked at: pictures of it for the docs, and what axe-core says of it.

    python tools/look_at_page.py pictures DIR           # light, dark, phone, 4K, while it plays, and the second tab
    python tools/look_at_page.py access AXE.js          # axe.min.js of npm's axe-core; fails on a serious finding

Both use the checkpoint that is shipped. axe-core is no dependency: `npm pack axe-core` fetches it.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from page_probe import ask_for, choose_example, hosting, report

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from page_server import browsing, open_page

VIEWS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1440, "height": 900}},
    "dark": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"},
    "phone": {
        "viewport": {"width": 375, "height": 812}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True,
    },
    "wide": {"viewport": {"width": 3840, "height": 2160}, "color_scheme": "dark"},
}  # fmt: skip
PLAYED_BEATS = 8
WAIT_MS = 300_000
OURS = ".mf"
SERIOUS = ("serious", "critical")


def scenes(page: Any) -> Iterator[str]:
    """Bring the page from one scene to the next, and name each."""
    yield "start"
    choose_example(page, "House")
    page.click("[data-act=continue]")
    page.wait_for_function(f"melformer.state.store.nNew >= {PLAYED_BEATS}", timeout=WAIT_MS)
    page.evaluate("scrollTo(0, 0)")
    if page.evaluate("melformer.state.loop.present.length > 1"):
        page.wait_for_selector("[data-lane]", timeout=WAIT_MS)
    yield "playing"
    page.click("[data-vary=bass]")
    page.wait_for_function("melformer.timeline.marks.size > 0", timeout=WAIT_MS)
    page.wait_for_function("!melformer.player.catchingUp", timeout=WAIT_MS)
    yield "new_line"
    page.evaluate("document.querySelector('[data-act=stop]').click()")
    page.wait_for_selector("[data-act=keep]:enabled", timeout=WAIT_MS)
    page.wait_for_function("melformer.state.store.beats.every((beat) => beat.stems)", timeout=WAIT_MS)
    _point_at(page, page.evaluate("melformer.state.loop.n_beats") + 5)
    yield "sources"
    page.keyboard.press("Escape")
    ask_for(page, 8)  # opens what is folded away
    page.click("summary[aria-label='More for Take 1']")
    yield "take"
    page.click("#mf-tab-codes")
    page.wait_for_selector("[data-usage] li", timeout=WAIT_MS)
    page.locator("#mf-books").fill("4")
    page.click("[data-act=decode]")
    page.get_by_text("Decoded with 4").first.wait_for(timeout=WAIT_MS)
    page.locator("[data-beats] button").nth(2).click()
    yield "codebooks"


def _point_at(page: Any, beat: int) -> None:
    """Select the bar of a beat, and hold the mouse over the beat: where it comes from is drawn."""
    page.evaluate("(beat) => { melformer.timeline.scroll.scrollLeft = 0; melformer.timeline.on.bar(beat); }", beat)
    page.evaluate("(beat) => melformer.timeline.choose(beat, null)", beat)


def take_pictures(options: argparse.Namespace) -> None:
    """DIR/page_VIEW_SCENE.png for every view and scene."""
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with hosting() as host, browsing() as browser:
        for view, settings in VIEWS.items():
            page = open_page(browser, host.url, **settings)
            for scene in scenes(page):
                page.wait_for_timeout(300)
                page.screenshot(path=folder / f"page_{view}_{scene}.png", full_page=scene in ("take", "codebooks"))
            page.context.close()
    report("pictures", {"folder": str(folder)})


def check_access(options: argparse.Namespace) -> None:
    """Run axe-core on every scene, light, dark and on a phone; list the findings, and fail on a serious one of ours."""
    axe = Path(options.axe).read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = {}
    with hosting() as host, browsing() as browser:
        for view in ("light", "dark", "phone"):
            page = open_page(browser, host.url, **VIEWS[view])
            for scene in scenes(page):
                page.evaluate(axe)
                for finding in page.evaluate("axe.run().then((result) => result.violations)"):
                    for node in finding["nodes"]:
                        target = " ".join(map(str, node["target"]))
                        about = {"impact": finding["impact"], "help": finding["help"], "target": target}
                        where = {"where": f"{view} {scene}", "ours": _is_ours(page, target)}
                        found.setdefault(f"{finding['id']} {target}", {**about, **where})
            page.context.close()
    for finding in found.values():
        print(f"{finding['impact']}{'' if finding['ours'] else ' (not ours)'}: {finding['help']}", file=sys.stderr)
        print(f"    {finding['where']}: {finding['target']}", file=sys.stderr)
    serious = sum(finding["ours"] and finding["impact"] in SERIOUS for finding in found.values())
    report("access", {"serious_of_ours": serious, "findings": len(found)})
    sys.exit(1 if serious else 0)


def _is_ours(page: Any, target: str) -> bool:
    return bool(page.evaluate(f"(target) => Boolean(document.querySelector(target)?.closest('{OURS}'))", target))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    pictures = commands.add_parser("pictures", help="write a picture of every view and scene")
    pictures.add_argument("folder")
    pictures.set_defaults(run=take_pictures)
    access = commands.add_parser("access", help="run axe-core on every scene")
    access.add_argument("axe", help="the file axe.min.js")
    access.set_defaults(run=check_access)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
