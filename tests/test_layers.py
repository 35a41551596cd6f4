"""The floors of the house: imports only go down, and what is heavy is imported where it is used."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import melformer

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "melformer"
FLOORS = {
    "errors": 0, "files": 0, "config": 0,
    "audio": 1, "packed": 1,
    "codec": 2, "transformer": 2,
    "hub": 3,
    "sampling": 4, "generate": 4,
    "corpus": 5, "data": 5, "train": 5, "evaluate": 5, "bench": 5,
    "ui": 6,
    "cli": 7, "__main__": 7, "app": 7,
}  # fmt: skip
NEIGHBOURS = {  # who may use a room on the same floor; the reverse is an error
    ("errors", "errors"), ("config", "errors"), ("files", "errors"),
    ("generate", "sampling"),
    ("data", "corpus"), ("train", "data"), ("train", "corpus"), ("train", "evaluate"),
    ("evaluate", "data"), ("evaluate", "corpus"),
    ("__main__", "cli"),
}  # fmt: skip
OPTIONAL = {"tinysoundfont", "tensorboard"}  # used where they are installed
HEAVY = {"gradio", "librosa", "matplotlib", "huggingface_hub", "playwright"}
FILES = sorted(PACKAGE.rglob("*.py")) + [path for path in [ROOT / "app.py"] if path.exists()]


def room(path: Path) -> str:
    """The floor table's name for a file: `melformer/audio/wav.py` → audio; `cli_train.py` → cli."""
    if path.name == "app.py" and path.parent == ROOT:
        return "app"
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return first if first in FLOORS or first == "__init__" else first.split("_")[0]


def imports(tree: ast.AST) -> list[str]:
    """Dotted names of everything that a piece of code imports, also inside functions."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def rooms_used(tree: ast.AST) -> set[str]:
    used = set()
    for name in imports(tree):
        parts = name.split(".")
        if parts[0] == "melformer" and len(parts) > 1:
            used.add(parts[1] if parts[1] in FLOORS else parts[1].split("_")[0])
    return used


def faults(own: str, tree: ast.AST) -> list[str]:
    found = []
    for other in rooms_used(tree) & FLOORS.keys() - {own}:
        if FLOORS[other] > FLOORS[own] or (FLOORS[other] == FLOORS[own] and (own, other) not in NEIGHBOURS):
            found.append(f"{own} (floor {FLOORS[own]}) imports {other} (floor {FLOORS[other]})")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    own = room(path)
    if own == "__init__":
        return  # the package's front door shows rooms of every floor, lazily; see the next test
    assert own in FLOORS, f"{path} is in no room of the floor table"
    assert not faults(own, ast.parse(path.read_text(encoding="utf-8")))


def test_the_test_can_fail() -> None:
    assert faults("audio", ast.parse("from melformer.codec.stft import BeatSTFT"))
    assert faults("codec", ast.parse("def f():\n    import melformer.transformer.model"))
    assert faults("sampling", ast.parse("from melformer import generate"))
    assert not faults("generate", ast.parse("from melformer import sampling, audio"))


def test_audio_knows_no_torch() -> None:
    for path in (PACKAGE / "audio").rglob("*.py"):
        roots = {name.split(".")[0] for name in imports(ast.parse(path.read_text(encoding="utf-8")))}
        assert "torch" not in roots, path


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_imports_stand_where_they_are_used(path: Path) -> None:
    if room(path) in {"ui", "app"}:
        return  # the page is gradio
    tree = ast.parse(path.read_text(encoding="utf-8"))
    at_top = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
    assert not {name.split(".")[0] for name in imports(at_top)} & HEAVY


def test_requirements_name_all_that_is_imported() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    named = {re.split(r"[<>=!~ ]", line)[0] for line in lines if line and not line.startswith("#")}
    own_or_standard = {"melformer", "app", "__future__", *sys.stdlib_module_names}
    for path in FILES:
        roots = {name.split(".")[0] for name in imports(ast.parse(path.read_text(encoding="utf-8")))}
        assert roots - own_or_standard - OPTIONAL <= named, path


def test_the_front_door() -> None:
    for name in melformer.__all__:
        assert getattr(melformer, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        _ = melformer.nothing


def test_importing_the_package_and_the_command_line_is_light() -> None:
    code = "import sys, melformer.cli; print([m for m in ('torch', 'gradio', 'scipy') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
