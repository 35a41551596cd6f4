"""Build the wheel, install it where nothing of this repository is, continue a loop there, and fetch the page.

python tools/check_wheel.py [--torch REQUIREMENT]     # `make wheel-test`
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOOP, BPM, N_BEATS, N_NEW, RATE = "house_122bpm.flac", 122, 16, 4, 44_100
PATIENCE_S = 180.0


def run(*command: str | Path, folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a command in a folder; its standard output. Errors: SystemExit with what it said."""
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def install(folder: Path, torch: str | None) -> Path:
    """Build the wheel from a copy of the sources and install it into a new environment; the environment's commands."""
    for name in ("melformer", "checkpoints", "examples"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "requirements.txt", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, folder / "source" / name)
    commands = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    run(sys.executable, "-m", "venv", folder / "venv", folder=folder)
    pip = (commands / "python", "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", folder, folder / "source", folder=folder)
    shutil.rmtree(folder / "source")
    if torch:
        run(*pip, "install", torch, folder=folder)
    run(*pip, "install", *folder.glob("*.whl"), folder=folder)
    return commands


def continue_loop(commands: Path, folder: Path, environment: Mapping[str, str]) -> None:
    """Continue an example that came with the wheel, and compare the length with the grid's."""
    where = "from melformer.files import shipped_folder; print(shipped_folder('examples'))"
    examples = Path(run(commands / "python", "-c", where, folder=folder, environment=environment).strip())
    assert examples.is_relative_to(folder), f"{examples} is not what was installed"
    options = ("--beats", str(N_NEW), "--seed", "7", "-o", "out.wav")
    run(commands / "melformer", "continue", examples / LOOP, *options, folder=folder, environment=environment)
    count = "import soundfile, sys; print(soundfile.info(sys.argv[1]).frames)"
    n_samples = int(run(commands / "python", "-c", count, "out.wav", folder=folder, environment=environment))
    expected = round((N_BEATS + N_NEW) * 60 * RATE / BPM)
    assert abs(n_samples - expected) <= 1, f"{n_samples} samples instead of {expected}"


def fetch_page(commands: Path, folder: Path, environment: Mapping[str, str]) -> None:
    """Start `melformer serve`, fetch its page, and end it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**environment, "GRADIO_SERVER_PORT": str(port)}
    with open(folder / "serve.log", "w") as log:
        server = subprocess.Popen(
            [commands / "melformer", "serve"], cwd=folder, env=environment, stdout=log, stderr=log
        )
    try:
        page = _fetch(f"http://127.0.0.1:{port}/", server)
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            status = server.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            server.kill()
            raise
    said = (folder / "serve.log").read_text()
    assert "Melformer" in page, f"the page does not answer:\n{said}"
    assert status in (0, 143), f"melformer serve ended with status {status}:\n{said}"


def _fetch(url: str, server: "subprocess.Popen[bytes]") -> str:
    """The page as soon as it is there; nothing where the server ended, or took too long."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=30.0) as answer:
                return answer.read().decode()
        except OSError:  # not there yet, or busy
            time.sleep(0.5)
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description="Install the wheel into an empty environment and use it there.")
    parser.add_argument("--torch", help="install this requirement first, for a build without CUDA")
    torch = parser.parse_args().torch
    with tempfile.TemporaryDirectory(prefix="melformer-wheel-") as name:
        folder = Path(name).resolve()
        commands = install(folder, torch)
        inherited = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MELFORMER_MODEL")}
        environment = {**inherited, "HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False"}
        continue_loop(commands, folder, environment)
        fetch_page(commands, folder, environment)
    print("The wheel continues a loop and serves the page.")


if __name__ == "__main__":
    main()
