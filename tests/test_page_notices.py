"""What the page says when something is wrong: beside its cause, in view, and gone when it is over."""

from typing import Any

import pytest
from page_moves import load, notice, wait_new
from page_server import Server, open_page

IN_VIEW = """() => {
  const box = document.querySelector("[data-notice]").getBoundingClientRect();
  const { clientWidth } = document.documentElement;
  return box.top >= 0 && box.left >= 0 && box.bottom <= innerHeight && box.right <= clientWidth;
}"""


@pytest.mark.parametrize(
    "view", [{"width": 1440, "height": 900}, {"width": 375, "height": 720}], ids=["desktop", "phone"]
)
def test_a_mistake_is_told_in_view_and_pushes_nothing(browser: Any, server: Server, view: dict) -> None:
    page = open_page(browser, server.url, viewport=view)
    load(page)
    page.locator("#mf-count").scroll_into_view_if_needed()
    page.fill("#mf-count", "1000")
    before = page.locator("#mf-count").bounding_box()
    page.click("[data-act=continue]")
    assert "at a time" in notice(page)
    assert page.evaluate(IN_VIEW)
    assert page.locator("#mf-count").bounding_box() == before
    page.click("[data-act=dismiss]")
    assert page.is_hidden("[data-notice]")
    page.context.close()


def test_escape_closes_notices_and_menus_and_none_follows_into_the_other_tab(page: Any) -> None:
    load(page)
    page.fill("#mf-count", "1000")
    page.click("[data-act=continue]")
    notice(page)
    page.keyboard.press("Escape")
    assert page.is_hidden("[data-notice]")
    page.click("[data-act=continue]")
    notice(page)
    page.click("#mf-tab-codes")
    assert page.is_hidden("[data-notice]")
    page.click("#mf-tab-play")
    page.click(".mf-grid > summary")
    page.keyboard.press("Escape")
    assert page.locator(".mf-grid").get_attribute("open") is None
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"


def test_a_cut_connection_is_told_once_and_not_after_it_is_back(page: Any) -> None:
    load(page, unit="endless")
    page.click("[data-act=continue]")
    wait_new(page, 6)
    page.context.set_offline(True)
    page.evaluate("melformer.state.run.run += 0.5")  # what is on its way is lost too
    offline = page.locator("[data-offline]")
    offline.wait_for()
    page.wait_for_function("!melformer.state.run && !melformer.player.playing")  # what had arrived was played
    assert page.is_hidden("[data-act=stop]")
    assert page.inner_text("[data-status]").startswith("The connection dropped. What you heard is kept")
    assert page.is_hidden("[data-notice]")
    assert page.locator(".toast-wrap:visible").count() == 0
    page.context.set_offline(False)
    offline.wait_for(state="hidden")
    page.wait_for_selector("[data-act=keep]:enabled")
