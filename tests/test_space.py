"""The Space's files: what the page needs and nothing else, running on their own, and pushed as they are."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import TOKEN, HubServer

ROOT = Path(__file__).resolve().parents[1]
_spec = importlib.util.spec_from_file_location("make_space", ROOT / "tools" / "make_space.py")
assert _spec is not None and _spec.loader is not None
make_space = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make_space)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spaces") / "space"
    make_space.assemble(ROOT, folder)
    return folder


def test_it_holds_what_runs_and_no_more(space: Path) -> None:
    names = {path.relative_to(space).as_posix() for path in space.rglob("*") if path.is_file()}
    assert {"app.py", "README.md", "requirements.txt", "packages.txt", "checkpoints/model.safetensors"} <= names
    for here in (ROOT / "melformer").rglob("*"):
        if here.suffix in (".py", ".js", ".css", ".html", ".json"):
            assert here.relative_to(ROOT).as_posix() in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", ".")) or "__pycache__" in name]
    pictures = re.findall(r"!\[[^]]*\]\((docs/[^)]+)\)", (space / "README.md").read_text(encoding="utf-8"))
    assert pictures and set(pictures) <= names


def test_its_page_is_built_from_its_own_files(space: Path) -> None:
    """With the embedded checkpoint and no network."""
    program = (
        "import melformer, app; from melformer.hub import find_bundle; from melformer.ui.app import serve; "
        "print(melformer.__file__, find_bundle()[0], sep='\\n')"
    )
    environment = {**os.environ, "PYTHONPATH": str(space), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=space, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert done.stdout.splitlines() == [str(space / "melformer" / "__init__.py"), str(space / "checkpoints")]


def test_an_index_of_wheels_is_named_in_the_copy_alone(tmp_path: Path) -> None:
    make_space.assemble(ROOT, tmp_path / "space", "ADDRESS")
    first, *rest = (tmp_path / "space" / "requirements.txt").read_text().splitlines()
    assert first == "--extra-index-url ADDRESS" and rest == (ROOT / "requirements.txt").read_text().splitlines()


def test_what_a_space_cannot_use_is_named(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("dear to me")
    for call, message in (
        (lambda: make_space.assemble(ROOT, tmp_path / "full"), "not empty"),
        (lambda: make_space.assemble(tmp_path, tmp_path / "new"), "app.py is missing"),
        (lambda: make_space.check_head("---\ntitle: A\nsdk: gradio\n---\n"), "sdk_version, app_file, license"),
    ):
        with pytest.raises(SystemExit, match=message):
            call()


def test_a_push_leaves_exactly_these_files(
    hub: HubServer, space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    small = tmp_path / "small"
    for name in ("app.py", "README.md", "checkpoints/config.json", "checkpoints/model.safetensors"):
        (small / name).parent.mkdir(parents=True, exist_ok=True)
        (small / name).write_bytes((space / name).read_bytes())
    (small / "old.py").write_text("print('left over')")
    make_space.push(small, "someone/a-space", "First.")
    (small / "old.py").unlink()
    make_space.push(small, "someone/a-space", "Second.")
    published = hub.repos["someone/a-space"].tree("main")
    assert published is not None
    expected = {path.relative_to(small).as_posix(): path.read_bytes() for path in small.rglob("*") if path.is_file()}
    assert {name: data for name, data in published[1].items() if name != ".gitattributes"} == expected


def test_the_workflow_calls_what_is_here() -> None:
    text = (ROOT / ".github" / "workflows" / "space.yml").read_text(encoding="utf-8")
    assert 'tags: ["v*"]' in text
    scripts = re.findall(r"(?:bash|python) ([\w./]+)", text)
    assert scripts == [".ci/run", "tools/make_space.py"] and all((ROOT / name).is_file() for name in scripts)
