"""A real server with the stand-in model, and a real Chromium with a tap on its sound output."""

import base64
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_double import Model

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")  # the first needs far less CPU
CHROMIUM = next((path for path in map(shutil.which, NAMES) if path), None)

PATIENCE_MS = 120_000  # a busy machine is slow, not wrong
CUT_OFF = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
MICROPHONE = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]  # beeps, and is always allowed

TAIL_BLOCKS = 100  # of 128 samples: whatever still is on its way when the player has ended comes before these

# Everything that reaches the sound output passes a recorder, loaded before the page's own worklet is ready.
TAP = """
(() => {
  const code = `registerProcessor("tap", class extends AudioWorkletProcessor {
    process(inputs, outputs) {
      const input = inputs[0];
      for (let c = 0; c < outputs[0].length; c++) if (input[c]) outputs[0][c].set(input[c]);
      const frames = new Float32Array(256);
      for (let k = 0; k < 256; k++) {
        const channel = input[Math.min(k % 2, input.length - 1)];
        frames[k] = channel ? channel[k >> 1] : 0;
      }
      this.port.postMessage(frames, [frames.buffer]);
      return true;
    }
  })`;
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const addModule = AudioWorklet.prototype.addModule, connect = AudioNode.prototype.connect;
  window.tapped = [];
  AudioWorklet.prototype.addModule = async function (...args) {
    await addModule.call(this, url);
    return addModule.apply(this, args);
  };
  AudioNode.prototype.connect = function (target, ...rest) {
    if (!(target instanceof AudioDestinationNode) || this.isTap) return connect.call(this, target, ...rest);
    const tap = new AudioWorkletNode(this.context, "tap", {
      outputChannelCount: [2], channelCount: 2, channelCountMode: "explicit", channelInterpretation: "discrete",
    });
    tap.isTap = true;
    tap.port.onmessage = (event) => window.tapped.push(event.data);
    connect.call(this, tap);
    return connect.call(tap, target);
  };
  window.readTap = () => {
    const bytes = new Uint8Array(window.tapped.length * 1024);
    window.tapped.forEach((frames, k) => bytes.set(new Uint8Array(frames.buffer), k * 1024));
    window.tapped = [];
    let text = "";
    for (let k = 0; k < bytes.length; k += 32768) {
      text += String.fromCharCode.apply(null, bytes.subarray(k, k + 32768));
    }
    return btoa(text);
  };
})();
"""

REFUSALS = (403, 404, 405, 415)


@dataclass
class Server:
    """A running page: its address, its model, its sessions, all of it, and the application that serves it."""

    url: str
    model: Model
    sessions: Any
    page: Any
    app: Any


@contextmanager
def serving(model: Model, examples: list[Path] | None = None, **limits: Any) -> Iterator[Server]:
    from melformer.ui.app import build_page, make_app
    from melformer.ui.host.limits import Limits
    from melformer.ui.host.server import PageServer, bind

    page = build_page(model, Limits(**limits), examples or [])
    app = make_app(page)
    server = PageServer(app, bind({"GRADIO_SERVER_PORT": "0"}))
    server.start()
    try:
        yield Server(server.url, model, page.sessions, page, app)
    finally:
        server.stop()
        page.close()


def need_chromium() -> str:
    """The browser's path. Without one the tests are skipped, but never in CI."""
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs Chromium for the page's tests: install Debian's chromium-headless-shell")
        pytest.skip("no Chromium here")
    return CHROMIUM


@contextmanager
def browsing() -> Iterator[Any]:
    """A Chromium that cannot leave this machine: no other has a name or an address for it."""
    path = need_chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", CUT_OFF, *MICROPHONE])
        try:
            yield browser
        finally:
            browser.close()


def open_page(browser: Any, url: str, tap: bool = False, **options: Any) -> Any:
    """A fresh visitor with a session of its own. Requests that leave this machine are listed in `page.left`, those
    that the server does not let in (melformer/ui/host/middleware.py) in `page.refused`.

    `tap`: record what reaches the sound output, for `read_tap`; it costs a slow machine much.
    """
    context = browser.new_context(accept_downloads=True, **options)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.left = []
    page.faults = []
    page.refused = []
    page.on("request", lambda request: page.left.append(request.url) if _is_outside(request.url) else None)
    page.on("response", lambda answer: page.refused.append(answer.url) if answer.status in REFUSALS else None)
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    if tap:
        page.add_init_script(TAP)
    page.goto(url)
    page.wait_for_selector("[data-ready]")
    return page


@contextmanager
def visiting(browser: Any, server: Server, **options: Any) -> Iterator[Any]:
    """`open_page`; at the end no script has failed, nothing was fetched from another machine, and the server has let in
    all that the page asked for."""
    page = open_page(browser, server.url, **options)
    try:
        yield page
    finally:
        server.model.held_at = server.model.told_s = None
    assert page.faults == []
    assert page.left == []
    assert page.refused == []
    page.context.close()


def _is_outside(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1", "data:", "blob:"))


def read_tap(page: Any) -> np.ndarray:
    """What reached the sound output since the last reading, and a little silence after it: float32 (n_samples, 2)."""
    page.evaluate("window.tappedBefore = window.tapped.length")
    page.wait_for_function(f"window.tapped.length > window.tappedBefore + {TAIL_BLOCKS} || !window.tappedBefore")
    return np.frombuffer(base64.b64decode(page.evaluate("readTap()")), dtype="<f4").reshape(-1, 2)


def as_integers(samples: np.ndarray) -> np.ndarray:
    """The output as 16-bit integers; fails when any sample is not exactly one."""
    scaled = samples.astype(np.float64) * 32768
    assert np.array_equal(scaled, np.rint(scaled)), "the output holds values that no 16-bit sample has"
    return scaled.astype(np.int64)


def find_start(heard: np.ndarray, expected: np.ndarray) -> int:
    """Where `expected` begins in what was heard, by its first loud stretch."""
    loud = int(np.flatnonzero(np.abs(expected[:, 0]) > 0)[0])
    probe = expected[loud : loud + 64]
    for at in np.flatnonzero(np.all(heard == probe[0], axis=1)):
        if np.array_equal(heard[at : at + 64], probe):
            return int(at) - loud
    raise AssertionError("the expected sound was never heard")


def without_gaps(heard: np.ndarray, expected: np.ndarray, starved: int) -> np.ndarray:
    """What was heard from the start of `expected` on, less the `starved` frames of silence that the player owns up to:
    on a machine that falls behind it waits for a beat, and loses none."""
    heard = heard[find_start(heard, expected) :]
    while starved:
        different = np.flatnonzero(np.any(heard[: len(expected)] != expected[: len(heard)], axis=1))
        if not len(different):
            break
        gap = heard[different[0] : different[0] + starved]
        length = int(np.argmax(np.any(gap != 0, axis=1))) if gap.any() else len(gap)
        if not length:
            break
        heard = np.delete(heard, slice(different[0], different[0] + length), axis=0)
        starved -= length
    return heard
