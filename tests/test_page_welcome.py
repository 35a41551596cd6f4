"""The first five seconds in a real browser: something to see, hear and press before any choice."""

from typing import Any

import httpx
from page_moves import load, play_round, play_to_end
from page_server import Server


def test_an_example_is_drawn_and_playable_at_once(page: Any) -> None:
    assert page.evaluate("melformer.state.loop.name") == "click_200bpm"
    assert page.is_enabled("[data-act=continue]")
    play_to_end(page, lambda: page.click("[data-act=play]"))


def test_a_card_has_a_picture_a_tempo_and_a_play_button(page: Any) -> None:
    card = page.locator("[data-card]").first
    assert "200 BPM" in card.inner_text()
    assert len(card.locator("path").get_attribute("d").split("M")) > 50
    play_round(page)
    button = card.locator("[data-play=example]")
    button.click()
    page.wait_for_function("melformer.player.playing")
    assert button.get_attribute("aria-label").startswith("Pause")
    button.click()
    page.wait_for_function("!melformer.player.playing")


def test_presets_stand_in_front_and_set_the_engine(page: Any) -> None:
    load(page)
    page.click("label:has-text('Wild')")
    assert page.input_value("#mf-variation") == "0.9"
    page.click("label:has-text('Tight')")
    assert page.input_value("#mf-variation") == "0.25"
    assert page.locator("details.mf-more").get_attribute("open") is None
    page.evaluate(
        "const knob = document.querySelector('#mf-variation');knob.value = 0.6; knob.dispatchEvent(new Event('input'))"
    )
    assert page.locator("[name=mf-feel]:checked").count() == 0


def test_the_main_button_is_a_few_keys_away(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the player"
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id === 'mf-player'")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.act") == "continue"


def test_hints_are_grey_and_the_chosen_beat_is_read_out(page: Any) -> None:
    load(page)
    colour = "(node) => getComputedStyle(node).color"
    assert page.locator(".mf-hint").first.evaluate(colour) != page.locator("h1").evaluate(colour)
    page.focus("[data-scroll]")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('[data-live]').textContent.startsWith('Bar 1.1')")


def test_the_footer_has_no_stray_dividers(page: Any) -> None:
    footer = page.locator("footer")
    words = [line.strip() for line in footer.inner_text().splitlines() if line.strip()]
    assert words and "·" not in words, words
    assert "·" in (footer.text_content() or ""), "Gradio puts them there; what this test looks for"


def test_the_page_has_a_name_and_an_icon_of_its_own(server: Server) -> None:
    html = httpx.get(server.url).text
    assert 'content="Gradio"' not in html and "@Gradio" not in html
    assert html.count('property="og:title"') == 1
    assert 'property="og:title" content="Melformer' in html
    icon = httpx.get(f"{server.url}/favicon.ico", follow_redirects=True)
    assert "svg" in icon.headers["content-type"] and b"#ff9156" in icon.content
