"""An installed package holds all that it needs, wherever it lies. `tools/check_wheel.py` installs and uses a wheel."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from melformer.cli import main

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
import melformer
from melformer.hub import find_bundle
from melformer.files import shipped_folder
print(melformer.__file__, find_bundle()[0], *sorted(path.name for path in shipped_folder("examples").glob("*.flac")))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds what a wheel would install."""
    folder = tmp_path_factory.mktemp("site-packages")
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", folder / "build", "--build-lib", folder]
    subprocess.run([*command, "egg_info", "--egg-base", folder], cwd=ROOT, check=True, capture_output=True, timeout=300)
    return folder


def test_checkpoint_and_examples_are_found_where_it_is_installed(installed: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    file, bundle, *loops = done.stdout.split()
    assert Path(file).parent == installed / "melformer" and Path(bundle) == installed / "melformer" / "checkpoints"
    assert loops == sorted(path.name for path in (ROOT / "examples").glob("*.flac")) and loops


def test_what_belongs_to_the_page_is_installed(installed: Path) -> None:
    for file in (ROOT / "melformer").rglob("*"):
        if file.suffix in (".py", ".js", ".css", ".html", ".json"):
            assert (installed / file.relative_to(ROOT)).read_bytes() == file.read_bytes()


def test_serving_an_unknown_model_is_refused_in_a_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["serve", "--model", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
