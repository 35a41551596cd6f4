"""The transport in a real browser: play, pause, seek, loop braces, lead-in, and what the main button does next."""

from typing import Any

from page_moves import beat_width, load, make_take, play_from, play_round, play_to_end, wait_idle, wait_new
from page_server import Server, open_page

BEAT = 13_230  # samples at 200 BPM
PLAYING = "melformer.player.playing"


def test_a_take_that_plays_can_be_stopped_where_it_was_started(page: Any) -> None:
    make_take(page)
    play_round(page)
    row = page.locator("[data-take-list] [data-play=take]")
    row.click()
    page.wait_for_function(PLAYING)
    assert row.get_attribute("aria-label") == "Pause take 1"
    row.click()
    page.wait_for_function(f"!{PLAYING}")
    assert row.get_attribute("aria-label") == "Play take 1"
    row.click()
    page.wait_for_function(PLAYING)
    page.click("[data-act=play]")  # the one fixed button stops it too
    page.wait_for_function(f"!{PLAYING}")


def test_a_phone_can_stop_what_plays(browser: Any, server: Server) -> None:
    page = open_page(browser, server.url, viewport={"width": 375, "height": 720}, has_touch=True)
    make_take(page)
    play_round(page)
    page.get_by_role("button", name="Play take 1").click()
    page.wait_for_function(PLAYING)
    box = page.locator("[data-act=play]").bounding_box()
    assert box["y"] + box["height"] <= 720
    page.click("[data-act=play]")
    page.wait_for_function(f"!{PLAYING}")
    page.context.close()


def test_pause_keeps_the_place_and_play_goes_on_from_there(page: Any) -> None:
    load(page)
    play_round(page)
    page.click("[data-act=play]")
    page.wait_for_function("melformer.player.at > 13230")
    page.keyboard.press("Space")
    page.wait_for_function(f"!{PLAYING}")
    place = page.evaluate("melformer.state.cursor")
    assert 0 < place < 8 * BEAT
    play_round(page)  # and no longer
    page.keyboard.press("Space")
    page.wait_for_function(f"melformer.player.first === {place}")
    wait_idle(page)
    assert page.evaluate("melformer.state.view.takes.length") == 0  # playing the loop makes nothing


def test_a_click_moves_the_playhead(page: Any) -> None:
    load(page)
    width = beat_width(page)
    beat = page.locator("[data-scroll]")
    play_to_end(page, lambda: beat.click(position={"x": 5.5 * width, "y": 60}))  # it is heard
    assert page.evaluate("melformer.state.cursor") == 5 * BEAT
    play_round(page)
    assert play_from(page, lambda: page.click("[data-act=play]")) == 5 * BEAT
    page.wait_for_function(PLAYING)
    again = play_from(page, lambda: beat.click(position={"x": 1.5 * width, "y": 60}))
    assert again == BEAT  # while it plays, it goes on from there
    page.wait_for_function(f"{PLAYING} && melformer.player.until === Infinity")


def test_braces_are_played_round(page: Any) -> None:
    load(page)
    page.focus("[data-handle=last]")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("melformer.state.range") == [0, 4]
    page.keyboard.press("l")
    page.click("[data-act=play]")
    page.wait_for_function("melformer.player.played > 3 * 4 * 13230")  # three times round, and never beyond
    assert page.evaluate("melformer.player.at") <= 4 * BEAT
    page.keyboard.press("l")  # at once: not after what was queued
    page.wait_for_function("melformer.player.at > 4 * 13230 || !melformer.player.playing")
    wait_idle(page)


def test_a_drag_along_the_bar_numbers_sets_the_braces_and_escape_clears_them(page: Any) -> None:
    load(page)
    width, box = beat_width(page), page.locator("[data-scroll]").bounding_box()
    page.mouse.move(box["x"] + 2.5 * width, box["y"] + 12)
    page.mouse.down()
    page.mouse.move(box["x"] + 5.5 * width, box["y"] + 12, steps=4)
    page.mouse.up()
    assert page.evaluate("melformer.state.range") == [2, 6]
    page.keyboard.press("Escape")
    assert page.evaluate("melformer.state.range") is None


def test_a_lead_in_of_none_a_beat_a_bar_or_all(page: Any) -> None:
    for lead, beats in (("none", 8), ("beat", 7), ("bar", 4), ("all", 0)):
        load(page)
        page.select_option("#mf-lead", lead)
        assert play_from(page, lambda: page.click("[data-act=continue]")) == beats * BEAT, lead
        wait_new(page, 4)
        wait_idle(page)
        after = (4 if lead == "all" else beats) * BEAT
        assert play_from(page, lambda: page.click("[data-act=skip]")) == after, lead


def test_the_main_button_does_the_next_sensible_thing(page: Any) -> None:
    make_take(page)
    assert page.locator(".mf-main:visible").inner_text() == "Extend"
    page.click(".mf-main:visible")
    page.wait_for_function("!melformer.state.run && melformer.state.view.takes[0].n_beats === 8")
    for expected in (8, 9):
        page.click("[data-act=another]")
        page.wait_for_function("!melformer.state.run")
        assert page.evaluate("melformer.state.view.takes.map((one) => one.seed)")[-1] == expected


def test_a_run_stopped_before_its_first_beat_leaves_no_take(page: Any, server: Server) -> None:
    load(page)
    server.model.held_at = 0
    page.click("[data-act=continue]")
    page.wait_for_function("melformer.state.run && melformer.state.run.started")
    page.click("[data-act=stop]")
    page.get_by_text("Stopping…").wait_for()
    server.model.held_at = None
    page.wait_for_function("!melformer.state.run")
    takes = page.evaluate("melformer.state.view.takes.map((one) => one.n_beats)")
    assert 0 not in takes
    assert page.locator(".mf-main:visible").inner_text() == ("Extend" if takes else "Continue")


def test_the_result_can_be_played_and_saved_without_scrolling(page: Any) -> None:
    make_take(page)
    page.wait_for_function("document.querySelector('[data-lanes] [data-lane]')")  # the tallest the page gets
    for width, height in ((1440, 900), (375, 812)):
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate("scrollTo(0, 0)")
        for name in ("play", "wav", "flac"):
            box = page.locator(f"[data-act={name}]").bounding_box()
            assert box["y"] >= 0 and box["y"] + box["height"] <= height, name
        with page.expect_download() as download:
            page.click("[data-act=wav]")
        assert download.value.suggested_filename == "click_200bpm_12beats_seed7.wav"
