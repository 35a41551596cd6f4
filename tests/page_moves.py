"""What a visitor does again and again, and waiting for what comes of it."""

import time
from typing import Any


def load(page: Any, n_beats: int = 4, unit: str = "beats") -> None:
    """Open the example, and set how much is continued."""
    page.get_by_role("button", name="Click 200").click()
    page.wait_for_selector("[data-act=continue]:enabled")
    page.select_option("#mf-lead", "bar")
    if unit != "endless":
        page.fill("#mf-count", str(n_beats))
    page.select_option("[data-unit]", unit)


def open_engine(page: Any) -> None:
    if page.locator("details.mf-more").get_attribute("open") is None:
        page.click("summary:has-text('Engine settings')")


def make_take(page: Any, n_beats: int = 4) -> None:
    """Load the example, continue it, and wait until the take is there and silent."""
    load(page, n_beats)
    page.click("[data-act=continue]")
    wait_new(page, n_beats)
    wait_idle(page)
    page.wait_for_selector("[data-result]:not([hidden])")


def beat_width(page: Any) -> float:
    """Of a beat on the timeline, in pixels, once the lanes are there: their heads take room from it."""
    page.wait_for_selector("[data-lane=other]")
    return page.evaluate("melformer.timeline.beatWidth")


def select_bar(page: Any, bar: int) -> None:
    """Click its number above the timeline."""
    page.wait_for_function("melformer.state.store.loop.stemsKnown")  # lanes take room from the timeline
    width = page.evaluate("melformer.timeline.beatWidth * melformer.state.store.loop.beats_per_bar")
    page.locator("[data-scroll]").click(position={"x": (bar - 0.5) * width, "y": 12})


def play_to_end(page: Any, begin: Any) -> None:
    """Call `begin`, and wait until what it plays has ended."""
    page.evaluate(
        """() => {
          const { player } = melformer, { report } = player;
          window.ended = false;
          player.report = (what) => {
            report(what);
            if (what !== "ended") return;
            window.ended = true;
            player.report = report;
          };
        }"""
    )
    begin()
    page.wait_for_function("window.ended")


def play_from(page: Any, begin: Any) -> int:
    """Call `begin`, and give the frame from which it makes the player play."""
    page.evaluate(
        """() => {
          const { player } = melformer;
          window.playedFrom = null;
          player.play = (store, frame = 0, ...rest) => {
            window.playedFrom = frame;
            delete player.play;
            return player.play(store, frame, ...rest);
          };
        }"""
    )
    begin()
    page.wait_for_function("window.playedFrom !== null")
    return page.evaluate("window.playedFrom")


def play_round(page: Any) -> None:
    """Whatever plays from now on does not end by itself: a busy machine looks late."""
    page.evaluate("document.querySelector('[data-loop-play]').click()")


def drop_files(page: Any, *files: tuple[str, bytes], at: tuple[float, float] = (400, 300)) -> bool:
    """Drop files as from the desktop; gives whether the page took them, or would have let the browser open them."""
    listed = [[name, list(data)] for name, data in files]
    return page.evaluate(
        """([files, [x, y]]) => {
          const carried = new DataTransfer();
          for (const [name, data] of files) carried.items.add(new File([new Uint8Array(data)], name));
          const where = document.elementFromPoint(x, y) || document.body;
          const send = (type) => {
            const options = { dataTransfer: carried, bubbles: true, cancelable: true, clientX: x, clientY: y };
            const event = new DragEvent(type, options);
            where.dispatchEvent(event);
            return event.defaultPrevented;
          };
          return send("dragover") && send("drop");
        }""",
        [listed, list(at)],
    )


def notice(page: Any) -> str:
    """What the page complains about, once it does."""
    page.wait_for_selector("[data-notice]:not([hidden])")
    return page.inner_text("[data-error]")


def note_status(page: Any) -> None:
    """Keep all that the transport says from now on, for `wait_said`: some of it stands for a moment only."""
    page.evaluate(
        """() => {
          const status = document.querySelector("[data-status]");
          window.said = [];
          const options = { childList: true, characterData: true, subtree: true };
          new MutationObserver(() => window.said.push(status.textContent)).observe(status, options);
        }"""
    )


def wait_said(page: Any, words: str) -> None:
    page.wait_for_function("(words) => window.said.some((one) => one.includes(words))", arg=words)


def wait_new(page: Any, n_beats: int) -> None:
    page.wait_for_function(f"melformer.state.store.nNew >= {n_beats}")


def wait_idle(page: Any) -> None:
    page.wait_for_function("!melformer.state.run && !melformer.player.playing")


def wait_until(condition: Any, timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)
