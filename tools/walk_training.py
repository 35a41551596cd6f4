"""Type every line of docs/how-to/train.md between the marks `walk`, as a new user would, with a Hub on the loopback.

python tools/walk_training.py [EMPTY_DIR]          # some minutes; prints each line and how long it took
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from hub_server import TOKEN, HubServer

ROOT = Path(__file__).resolve().parents[1]
PORT = 7931


def lines() -> list[str]:
    """The commands, in order."""
    text = (ROOT / "docs" / "how-to" / "train.md").read_text(encoding="utf-8")
    block = text.split("<!-- walk -->")[1].split("<!-- /walk -->")[0]
    return [line.strip() for line in block.splitlines() if line.startswith("    ")]


def environment(hub: HubServer, folder: Path) -> dict[str, str]:
    """What a user with a login has, but for the Hub's address."""
    return {
        **os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(folder / "hub cache"),
        "HF_HUB_DISABLE_XET": "1", "GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_SERVER_PORT": str(PORT),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip


def serve(line: str, folder: Path, variables: dict[str, str]) -> None:
    """Start the page, see that it answers, stop it."""
    page = subprocess.Popen(["bash", "-c", f"exec env {line}"], cwd=folder, env=variables)
    deadline = time.monotonic() + 300
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{PORT}", timeout=10) as answer:
                    assert answer.status == 200
                return
            except OSError:
                assert page.poll() is None and time.monotonic() < deadline, f"{line}: the page does not answer"
                time.sleep(0.5)
    finally:
        page.terminate()
        page.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, metavar="EMPTY_DIR")
    folder = parser.parse_args().folder or Path(tempfile.mkdtemp(prefix="melformer-walk-"))
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("examples", "app.py"):  # the repository's own, where a user stands
        kind = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        kind(ROOT / name, folder / name)
    hub = HubServer()
    hub.start()
    variables = environment(hub, folder)
    for line in lines():
        begun = time.monotonic()
        print(f"$ {line}", flush=True)
        if re.search(r"\bapp\.py$", line):
            serve(line, folder, variables)
        else:
            subprocess.run(["bash", "-c", line], cwd=folder, env=variables, check=True)
        print(f"  {time.monotonic() - begun:.0f} s", flush=True)
    print(f"all {len(lines())} lines ran; {', '.join(hub.repos)} is published")


if __name__ == "__main__":
    main()
