"""Takes in a real browser: several at once, their labels, undo and redo, names, and what leaves the page."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from page_moves import load, make_take, notice, open_engine, wait_idle, wait_new, wait_until
from page_server import Server


def generate(page: Any) -> None:
    open_engine(page)
    page.click("[data-act=choose]")


def test_several_takes_take_their_time(page: Any, server: Server) -> None:
    """Longer than the watchdog waits before it looks whether a silent run is still there."""
    load(page)
    server.model.held_at = 2
    with page.expect_request(lambda request: '"view"' in (request.post_data or "")):  # the watchdog's
        generate(page)
        page.get_by_text("Generating 3 takes…").wait_for()
    server.model.held_at = None
    page.wait_for_function("melformer.state.view.takes.length === 3 && !melformer.state.run")
    page.get_by_text("model's pick is take 3").first.wait_for()
    assert not page.is_visible("[data-notice]")


def test_several_takes_can_be_stopped(page: Any, server: Server) -> None:
    load(page, n_beats=64)
    server.model.held_at = 1
    generate(page)
    page.get_by_text("Generating 3 takes…").wait_for()
    page.click("[data-act=stop]")
    page.get_by_text("Stopping…").wait_for()
    wait_until(lambda: server.sessions.find(page.evaluate("melformer.state.token")).runs._running.reason)
    server.model.held_at = None
    page.wait_for_function("melformer.state.view.takes.length === 3 && !melformer.state.run")  # what was made is kept
    assert max(page.evaluate("melformer.state.view.takes.map((one) => one.n_beats)")) < 64
    assert server.sessions.scheduler.n_playing == 0


def test_takes_wait_for_the_loop_they_are_made_of(page: Any, server: Server) -> None:
    load(page)
    open_engine(page)
    disabled = page.evaluate(  # in one task, before any answer can have come
        """() => {
          document.querySelector("[data-card] .mf-card-open").click();
          return document.querySelector("[data-act=choose]").disabled;
        }"""
    )
    assert disabled
    page.wait_for_selector("[data-act=choose]:enabled")


def test_a_take_is_shown_with_its_own_loop(page: Any, tmp_path: Path) -> None:
    from page_double import loop_samples

    from melformer.audio.io import write_waveform

    make_take(page)
    write_waveform(other := tmp_path / "other_100bpm.wav", loop_samples(8, 100.0))
    page.set_input_files("#mf-file", str(other))
    page.wait_for_function("melformer.state.loop.name === 'other_100bpm'")
    page.get_by_role("button", name="Show Take 1").click()
    page.wait_for_function("melformer.state.store.take === 1")
    assert page.inner_text("[data-name]") == "click_200bpm"
    assert page.input_value("#mf-bpm") == "200"
    page.get_by_role("button", name="New take").click()  # and a new take is one of the loop that is shown
    page.wait_for_function("melformer.state.view.takes.length === 2 && !melformer.state.run")
    assert page.evaluate("melformer.state.view.takes[1].loop_name") == "click_200bpm"


def test_a_steered_take_says_so(page: Any) -> None:
    load(page, unit="endless")
    page.click("[data-act=continue]")
    wait_new(page, 4)
    page.evaluate(
        "const knob = document.querySelector('#mf-variation');knob.value = 0.9; knob.dispatchEvent(new Event('input'))"
    )
    page.wait_for_function("melformer.timeline.marks.size === 1")
    page.click("[data-act=stop]")
    wait_idle(page)
    assert "variation 50% → 90%" in page.inner_text("[data-take-list] li")


def test_undo_never_empties_the_page_and_can_be_redone(page: Any) -> None:
    load(page)
    assert page.is_disabled("[data-act=undo]") or page.evaluate("melformer.state.loop !== null")
    while page.is_enabled("[data-act=undo]"):
        page.click("[data-act=undo]")
        page.wait_for_function("!melformer.state.loading")
    assert page.is_visible("[data-stage]")
    page.focus("[data-handle=last]")
    page.keyboard.press("ArrowLeft")
    page.click("[data-act=crop]")
    page.wait_for_function("melformer.state.loop.n_beats === 4")
    page.click("[data-act=undo]")
    page.wait_for_function("melformer.state.loop.n_beats === 8")
    page.click("[data-act=redo]")
    page.wait_for_function("melformer.state.loop.n_beats === 4")
    assert page.is_disabled("[data-act=redo]")


def test_all_takes_are_exported_as_chosen(page: Any, tmp_path: Path) -> None:
    make_take(page)
    for part, name in (("new", "4beats_seed7_new"), ("whole", "12beats_seed7")):
        page.select_option("#mf-part", part)
        with page.expect_download() as download:
            page.click("[data-act=zip]")
        download.value.save_as(tmp_path / "takes.zip")
        with zipfile.ZipFile(tmp_path / "takes.zip") as archive:
            assert archive.namelist() == [f"take1_click_200bpm_{name}.wav", "takes.json"]
            (take,) = json.loads(archive.read("takes.json"))
        assert take["seed"] == 7 and take["settings"]["variation"] == 0.5


def test_lengths_are_answered_in_the_unit_they_were_asked_in(page: Any) -> None:
    load(page)
    page.select_option("[data-unit]", "bars")
    page.fill("#mf-count", "-3")
    page.click("[data-act=continue]")
    assert notice(page) == "Add at least 1 bar."
    page.fill("#mf-count", "65")
    page.click("[data-act=continue]")
    page.get_by_text("You can add up to 64 bars at a time.").first.wait_for()


def test_takes_are_named_marked_and_deleted(page: Any) -> None:
    make_take(page)
    page.click("[data-act=rename]")
    page.fill("#mf-rename", "The good one")
    page.click("[data-rename] [data-close=ok]")
    page.wait_for_function("melformer.state.view.takes[0].name === 'The good one'")
    assert page.inner_text("[data-result-name]") == "The good one"
    page.get_by_role("button", name="Mark as favourite: The good one").click()
    page.wait_for_function("melformer.state.view.takes[0].favourite")
    page.click("summary[aria-label='More for The good one']")
    page.get_by_role("button", name="Delete The good one").click()
    page.wait_for_function("melformer.state.view.takes.length === 0")
    assert page.is_hidden("[data-result]")
    page.click("[data-act=undo]")
    page.wait_for_function("melformer.state.view.takes.length === 1")


@pytest.mark.parametrize(
    ("handle", "file"),
    [
        ("[data-act=drag]", "click_200bpm_12beats_seed7.wav"),
        ("[data-file=bass]", "click_200bpm_12beats_seed7_bass.wav"),
    ],
)
def test_a_take_and_its_stems_are_dragged_out_as_files(page: Any, handle: str, file: str) -> None:
    make_take(page)
    page.wait_for_selector("[data-file=bass]")
    page.wait_for_function("melformer.state.store.beats.every((beat) => beat.stems)")
    page.hover(handle)
    carried = page.evaluate_handle(
        """async (selector) => {
          const handle = document.querySelector(selector);
          for (let k = 0; k < 600; k++) {
            const carried = new DataTransfer();
            const begun = handle.dispatchEvent(new DragEvent("dragstart", { dataTransfer: carried, cancelable: true }));
            if (begun) return carried;
            await new Promise((resolve) => setTimeout(resolve, 100));
          }
        }""",
        handle,
    )
    kind, name, *address = carried.evaluate("(carried) => carried.getData('DownloadURL')").split(":")
    assert (kind, name) == ("audio/wav", file)
    size = "(url) => fetch(url).then((answer) => answer.arrayBuffer()).then((data) => data.byteLength)"
    assert page.evaluate(size, ":".join(address)) > 12 * 13_230 * 4


def copied_link(page: Any) -> str:
    """What Share puts on the clipboard."""
    page.evaluate("navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve(); }")
    page.click("[data-act=share]")
    page.wait_for_function("window.copied")
    return page.evaluate("window.copied")


def test_a_link_makes_the_same_take_again(page: Any, browser: Any, server: Server) -> None:
    from page_server import open_page

    load(page)
    open_engine(page)
    page.fill("#mf-seed", "123")
    page.click("[data-act=continue]")
    wait_new(page, 4)
    wait_idle(page)
    link = copied_link(page)
    assert "example=click_200bpm.wav" in link
    other = open_page(browser, link)
    other.get_by_text("A shared take").first.wait_for()
    other.click("[data-act=continue]")
    other.wait_for_function("melformer.state.view.takes.length === 1 && !melformer.state.run")
    first, second = (one.evaluate("melformer.state.view.takes[0]") for one in (page, other))
    assert [first[name] for name in ("seed", "n_beats")] == [second[name] for name in ("seed", "n_beats")] == [123, 4]
    same = "Array.from(melformer.state.store.beats.at(-1).pcm.subarray(0, 999))"
    assert page.evaluate(same) == other.evaluate(same)
    other.context.close()


def test_a_link_to_somebodys_own_loop_carries_no_sound(page: Any, loops: list[Path]) -> None:
    file = {"name": "mine_200bpm.wav", "mimeType": "audio/wav", "buffer": loops[0].read_bytes()}
    page.set_input_files("#mf-file", file)
    page.wait_for_function("melformer.state.loop && melformer.state.loop.name === 'mine_200bpm'")
    page.select_option("#mf-lead", "none")
    page.click("[data-act=continue]")
    page.wait_for_function("melformer.state.view.takes.length === 1 && !melformer.state.run")
    link = copied_link(page)
    assert "loop=mine_200bpm" in link and "example" not in link and len(link) < 400
    page.get_by_text("drops in the same loop").first.wait_for()
