"""The page in a real browser: keyboard, fields, files, a phone, and the second tab."""

from pathlib import Path
from typing import Any

from page_double import CODEBOOKS
from page_moves import load, open_engine, wait_idle, wait_new
from page_server import Server, open_page


def test_a_reload_leaves_the_knobs_as_they_were(page: Any) -> None:
    load(page)
    open_engine(page)
    page.fill("#mf-seed", "123")
    page.fill("#mf-density", "0.5")
    page.select_option("[data-unit]", "endless")
    page.evaluate(
        "const knob = document.querySelector('#mf-variation'); knob.value = 0.8;"
        "knob.dispatchEvent(new Event('change', { bubbles: true }))"
    )
    page.reload()
    page.wait_for_selector("[data-ready]")
    open_engine(page)
    assert page.input_value("#mf-seed") == "123"
    assert page.input_value("#mf-variation") == "0.8"
    assert page.input_value("#mf-density") == "0.5"
    assert page.is_disabled("#mf-count")
    assert "80%" in page.locator("output[data-for=mf-variation]").inner_text()


def test_after_a_click_space_is_the_transport(page: Any) -> None:
    load(page)
    page.click("[data-act=continue]")
    wait_idle(page)
    page.click("[data-act=another]")
    wait_new(page, 1)
    page.keyboard.press("Space")
    wait_idle(page)
    assert page.evaluate("melformer.state.view.takes.length") == 2
    open_engine(page)
    page.keyboard.press("Tab")  # by keyboard, space presses what it stands on
    page.focus("[data-act=dice]")
    seed = page.input_value("#mf-seed")
    page.keyboard.press("Space")
    assert not page.evaluate("melformer.player.playing")
    assert page.input_value("#mf-seed") != seed


def test_the_keyboard_stays_on_the_button_that_plays_and_stops(page: Any) -> None:
    load(page, unit="endless")
    page.focus("[data-act=continue]")
    page.keyboard.press("Enter")
    wait_new(page, 4)
    assert page.evaluate("document.activeElement.dataset.act") == "stop"
    page.keyboard.press("Enter")
    wait_idle(page)
    page.wait_for_function("document.activeElement.dataset.act === 'keep'")


def test_the_tokens_can_be_taken_away(page: Any, tmp_path: Path) -> None:
    load(page)
    page.click("[data-act=continue]")
    wait_idle(page)
    page.click("summary[aria-label='More for Take 1']")
    with page.expect_download() as download:
        page.get_by_role("button", name="Token image of Take 1").click()
    assert download.value.suggested_filename == "click_200bpm_take1_tokens.png"
    download.value.save_as(tmp_path / "tokens.png")
    assert (tmp_path / "tokens.png").read_bytes().startswith(b"\x89PNG")


def test_a_phone_shows_everything_without_sideways_scrolling(browser: Any, server: Server) -> None:
    phone = {"viewport": {"width": 375, "height": 720}, "has_touch": True, "color_scheme": "dark"}
    page = open_page(browser, server.url, **phone)
    load(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    for place in (0, 10_000):  # wherever the page is scrolled to, the transport is within reach
        page.evaluate("(place) => scrollTo(0, place)", place)
        box = page.locator("[data-act=continue]").bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 720
    small = page.evaluate(
        """Array.from(document.querySelectorAll('.mf button, .mf select, .mf input, .mf summary'))
           .filter((one) => one.offsetParent && one.type !== 'checkbox' && !one.classList.contains('mf-file'))
           .filter((one) => one.getBoundingClientRect().height < 44).map((one) => one.textContent || one.id)"""
    )
    assert small == []
    assert page.faults == []
    page.context.close()


def test_codebooks_can_be_heard_and_rewritten(page: Any) -> None:
    load(page)
    page.click("#mf-tab-codes")
    page.wait_for_selector("[data-usage] li")
    assert page.locator("[data-usage] li").count() == CODEBOOKS
    page.click("[data-act=decode]")
    page.get_by_text(f"Decoded with 1 of {CODEBOOKS} codebooks").first.wait_for()
    beats = page.locator("[data-beats] button")
    beats.nth(0).click()
    beats.nth(2).click()
    page.click("[data-edit=swap]")
    assert beats.nth(0).get_attribute("aria-label").startswith("Beat 1, tokens of beat 3")
    page.click("[data-act=edited]")
    page.get_by_text("Decoded with the rewritten tokens").first.wait_for()


def test_the_keyboard_plays_crops_and_saves(page: Any) -> None:
    load(page)
    page.focus("[data-handle=last]")
    page.keyboard.press("ArrowLeft")
    page.get_by_role("button", name="Crop to bar 1").click()
    page.wait_for_function("melformer.state.loop.n_beats === 4")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("c")
    wait_new(page, 4)
    wait_idle(page)
    with page.expect_download() as download:
        page.keyboard.press("s")
    assert download.value.suggested_filename == "click_200bpm_8beats_seed7.wav"
