"""Parts of a take composed again, and A/B at the same bar, in a real browser."""

from typing import Any

import numpy as np
from page_moves import load, make_take, open_engine, play_from, play_round, select_bar, wait_idle, wait_new
from page_server import Server

BEAT = 13_230  # samples at 200 BPM
PLAYING = "melformer.player.playing"


def beats_of(page: Any) -> list[np.ndarray]:
    code = "melformer.state.store.beats.map((beat) => Array.from(beat.pcm.subarray(0, 4000)))"
    return [np.array(beat) for beat in page.evaluate(code)]


def test_a_selected_bar_is_composed_again_and_nothing_else(page: Any, server: Server) -> None:
    make_take(page, 12)
    before = beats_of(page)
    select_bar(page, 4)
    again = page.get_by_role("button", name="Try bar 4 again")
    assert play_from(page, again.click) == 8 * BEAT  # heard from a bar before it on
    page.wait_for_function("melformer.state.store.take === 2 && melformer.state.view.takes.length === 2")
    assert server.model.redone == [((4, 8), None)]
    after = beats_of(page)
    assert [np.array_equal(a, b) for a, b in zip(before, after)] == [not 12 <= k < 16 for k in range(20)]
    assert page.evaluate("melformer.state.range") == [12, 16]  # and again, if that was not it
    assert "partly redone" in page.inner_text("[data-take-list] li:first-child")


def test_one_stem_of_a_part_is_composed_again(page: Any, server: Server) -> None:
    make_take(page, 8)
    page.wait_for_selector("[data-lane=other]")
    server.model.redone.clear()
    select_bar(page, 3)
    page.select_option("[data-again-stem]", "bass")
    page.click("[data-act=again]")
    page.wait_for_function("melformer.state.store.take === 2")
    assert server.model.redone == [((0, 4), ["bass"])]
    select_bar(page, 3)  # once more: nothing is selected
    assert page.evaluate("melformer.state.range") is None
    assert page.is_hidden("[data-act=again]")
    select_bar(page, 1)  # of the loop itself nothing can be composed
    assert page.is_hidden("[data-act=again]")


def test_two_takes_are_compared_at_the_same_bar(page: Any) -> None:
    make_take(page, 8)
    page.click("[data-act=another]")
    wait_new(page, 8)
    wait_idle(page)
    play_round(page)
    select = page.locator("#mf-against")
    assert select.locator("option").all_inner_texts() == ["Take 1", "your loop"]
    select.select_option(label="Take 1")
    page.locator("[data-scroll]").dblclick(position={"x": 1.5 * page.evaluate("melformer.timeline.beatWidth"), "y": 60})
    page.wait_for_function(f"{PLAYING} && melformer.player.at > 1.2 * {BEAT}")
    place = page.locator("[data-act=ab]").bounding_box()
    for take in (1, 2, 1):
        before = page.evaluate("melformer.player.at")
        after = play_from(page, lambda: page.click("[data-act=ab]"))
        page.wait_for_function(f"melformer.state.store.take === {take} && {PLAYING}")
        assert BEAT < before <= after  # it goes on, and has not gone round yet
        assert page.locator("[data-act=ab]").bounding_box() == place  # pressed again and again, it stays
    page.keyboard.press("Space")


def test_a_take_is_compared_with_the_loop_played_round(page: Any) -> None:
    make_take(page, 8)
    page.wait_for_selector("[data-lane=other]")
    width = page.evaluate("melformer.timeline.beatWidth")
    page.locator("[data-scroll]").click(position={"x": 13.5 * width, "y": 60})
    wait_idle(page)
    page.keyboard.press("b")
    page.wait_for_function("melformer.state.store.take === 0")
    assert page.evaluate("melformer.state.cursor") == 5 * BEAT  # beat 14 of the take is beat 6 of the loop, second time
    page.keyboard.press("b")
    page.wait_for_function("melformer.state.store.take === 1")
    assert page.evaluate("melformer.state.cursor") == 13 * BEAT


def test_less_motion_is_shown_to_those_who_ask_for_it(page: Any) -> None:
    page.emulate_media(reduced_motion="reduce")
    load(page)
    play_round(page)
    page.click("[data-act=play]")
    page.wait_for_function(f"melformer.player.at > 1.2 * {BEAT}")
    assert page.evaluate("melformer.timeline.motion") is None  # the playhead steps from beat to beat
    assert page.evaluate("document.getAnimations().length") == 0
    open_engine(page)
    durations = "[...document.querySelectorAll('.mf *')].map((one) => getComputedStyle(one).transitionDuration)"
    assert set(page.evaluate(durations)) == {"0s"}
    page.click("[data-act=play]")


def test_a_part_is_tried_again_and_compared_by_keyboard_alone(page: Any, server: Server) -> None:
    make_take(page, 8)
    page.wait_for_selector("[data-lane=other]")
    server.model.redone.clear()
    page.focus("[data-handle=first]")
    for _ in range(3):
        page.keyboard.press("ArrowRight")  # from bar to bar
    assert page.evaluate("melformer.state.range") == [12, 16]
    for _ in range(9):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.act") == "again":
            break
    page.keyboard.press("Enter")
    page.wait_for_function("melformer.state.store.take === 2")
    assert server.model.redone == [((4, 8), None)]
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    page.wait_for_function("melformer.state.store.take === 1")
    page.keyboard.press("c")  # extends, and is seen to
    page.wait_for_function("melformer.state.run || melformer.state.store.nNew > 8")
