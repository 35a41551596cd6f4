"""What a visitor does again and again, and waiting for what comes of it."""

import time
from typing import Any


def load(page: Any, n_beats: int = 4, unit: str = "beats") -> None:
    page.get_by_role("button", name="Click 200").click()
    page.wait_for_selector("[data-act=continue]:enabled")
    page.click("summary:has-text('More settings')")
    page.select_option("#mf-lead", "bar")
    if unit != "endless":
        page.fill("#mf-count", str(n_beats))
    page.select_option("[data-unit]", unit)


def wait_new(page: Any, n_beats: int) -> None:
    page.wait_for_function(f"melformer.state.store.nNew >= {n_beats}")


def wait_idle(page: Any) -> None:
    page.wait_for_function("!melformer.state.run && !melformer.player.playing")


def wait_until(condition: Any, timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)
