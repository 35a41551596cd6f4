"""Firefox without a display, driven over its own Marionette protocol: a JSON array a message, its length before it.

Unlike Chromium, Firefox plays nothing where there is no sound device: PulseAudio gives it one that leads nowhere.
"""

import base64
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
PULSEAUDIO = shutil.which("pulseaudio")
STARTS_WITHIN_S = 120.0
PATIENCE_S = 120.0
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the name that WebDriver gives to a reference
PREFERENCES = {
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "browser.download.folderList": 2,
    "browser.helperApps.neverAsk.saveToDisk": "audio/x-wav,audio/wav,application/octet-stream",
    "network.proxy.type": 1,  # nothing but this machine can be reached
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "toolkit.telemetry.server": "",
}


class Firefox:
    """One window; clicks and keys are the browser's own, as from a mouse and a keyboard."""

    def __init__(self, port: int) -> None:
        self._socket = _connect(port)
        self._file = self._socket.makefile("rb")
        self._n_sent = 0
        self._read()  # the greeting
        # A click on a link to a file is no navigation that ends, so nothing waits for one.
        self.send("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {"pageLoadStrategy": "none"}}})

    def send(self, command: str, parameters: dict[str, Any]) -> Any:
        """Errors: RuntimeError with the browser's own words."""
        self._n_sent += 1
        text = json.dumps([0, self._n_sent, command, parameters])
        self._socket.sendall(f"{len(text.encode())}:{text}".encode())
        _, _, error, result = self._read()
        if error:
            raise RuntimeError(f"{command}: {error.get('message')}")
        return result.get("value", result) if isinstance(result, dict) else result

    def open(self, url: str) -> None:
        self.send("WebDriver:Navigate", {"url": url})

    def evaluate(self, expression: str) -> Any:
        return self.send("WebDriver:ExecuteScript", {"script": f"return ({expression});", "args": []})

    def wait(self, expression: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < end, f"it never came true in Firefox: {expression}"
            time.sleep(0.05)

    def click(self, selector: str) -> None:
        self.send("WebDriver:ElementClick", {"id": self._find(selector)})

    def type(self, selector: str, text: str) -> None:
        """Keys, or the path of a file for a file input."""
        self.send("WebDriver:ElementSendKeys", {"id": self._find(selector), "text": text})

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.send("WebDriver:TakeScreenshot", {"full": False})))

    def _find(self, selector: str) -> str:
        found = self.send("WebDriver:FindElement", {"using": "css selector", "value": selector})
        return str(found[ELEMENT])

    def _read(self) -> Any:
        digits = b""
        while (byte := self._file.read(1)) != b":":
            assert byte, "Firefox has ended"
            digits += byte
        return json.loads(self._file.read(int(digits)))


@contextmanager
def firefox(folder: Path) -> Iterator[Firefox]:
    """A fresh Firefox with its profile and downloads in `folder`. Without one the test is skipped, but never in CI."""
    if FIREFOX is None or PULSEAUDIO is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs Firefox and a sound server for the page: install Debian's firefox-esr and pulseaudio")
        pytest.skip("no Firefox here, or no PulseAudio")
    port = _free_port()
    preferences = {**PREFERENCES, "marionette.port": port, "browser.download.dir": str(folder)}
    lines = [f'user_pref("{name}", {json.dumps(value)});' for name, value in preferences.items()]
    (folder / "user.js").write_text("\n".join(lines), encoding="utf-8")
    command = [FIREFOX, "--headless", "--marionette", "--no-remote", "--profile", str(folder)]
    environment = {**os.environ, "HOME": str(folder), "MOZ_HEADLESS_WIDTH": "1440", "MOZ_HEADLESS_HEIGHT": "900"}
    with _sound_device(folder) as server, _running(command, {**environment, "PULSE_SERVER": server}):
        yield Firefox(port)


@contextmanager
def _sound_device(folder: Path) -> Iterator[str]:
    """PulseAudio with a device that leads nowhere; gives its address."""
    path = folder / "sound-server"
    modules = ["-L", "module-null-sink", "-L", f"module-native-protocol-unix socket={path} auth-anonymous=1"]
    assert PULSEAUDIO is not None
    command = [PULSEAUDIO, "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", *modules]
    with _running(command, {**os.environ, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}):
        end = time.monotonic() + STARTS_WITHIN_S
        while not path.exists():
            assert time.monotonic() < end, "PulseAudio does not start"
            time.sleep(0.05)
        yield f"unix:{path}"


@contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _connect(port: int) -> socket.socket:
    end = time.monotonic() + STARTS_WITHIN_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        except OSError:
            assert time.monotonic() < end, "Firefox does not answer"
            time.sleep(0.2)
