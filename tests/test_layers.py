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
    "audio": 1,
    "codec": 2, "transformer": 2, "stems": 2,
    "hub": 3,
    "generate.prompt": 4,
    "render": 5,
    "generate": 6,
    "corpus": 7, "data": 7, "train": 7, "evaluate": 7, "bench": 7,
    "ui": 8,
    "cli": 9, "__main__": 9, "app": 9,
}  # fmt: skip
"""By the longest name that fits; a room may have a file that stands on a floor of its own."""
NEIGHBOURS = {  # who may use a room on the same floor; the reverse is an error
    ("config", "errors"), ("config", "files"), ("files", "errors"),
    ("data", "corpus"), ("train", "data"), ("train", "corpus"), ("train", "evaluate"),
    ("evaluate", "data"), ("evaluate", "corpus"),
    ("__main__", "cli"), ("app", "cli"),
}  # fmt: skip
OPTIONAL = {"tinysoundfont", "tensorboard"}  # used where they are installed
HEAVY = {"gradio", "librosa", "matplotlib", "huggingface_hub", "playwright"}
FILES = sorted(PACKAGE.rglob("*.py")) + [path for path in [ROOT / "app.py"] if path.exists()]


def room(dotted: str) -> str | None:
    """The floor table's name for a part of the package: `audio.io` → audio; None for the package's front door."""
    parts = dotted.split(".")
    names = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((name for name in names if name in FLOORS), None)


def room_of(path: Path) -> str | None:
    if path == ROOT / "app.py":
        return "app"
    return room(".".join(path.relative_to(PACKAGE).with_suffix("").parts))


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


def faults(own: str, tree: ast.AST) -> list[str]:
    """What stands in a room of the floor table, and imports from a floor that it must not see."""
    used = {room(name.removeprefix("melformer.")) for name in imports(tree) if name.startswith("melformer.")}
    return [
        f"{own} (floor {FLOORS[own]}) imports {other} (floor {FLOORS[other]})"
        for other in used - {own, None}
        if FLOORS[other] > FLOORS[own] or (FLOORS[other] == FLOORS[own] and (own, other) not in NEIGHBOURS)
    ]


def test_imports_go_down() -> None:
    found = []
    for path in FILES:
        if path == PACKAGE / "__init__.py":
            continue  # the package's front door shows rooms of every floor, lazily; see below
        own = room_of(path)
        assert own is not None, f"{path} is in no room of the floor table"
        found += [f"{path}: {fault}" for fault in faults(own, ast.parse(path.read_text(encoding="utf-8")))]
    assert not found, "\n".join(found)


def test_the_test_can_fail() -> None:
    assert faults("audio", ast.parse("from melformer.codec.stft import BeatSTFT"))
    assert faults("codec", ast.parse("def f():\n    import melformer.transformer.model"))
    assert faults("render", ast.parse("from melformer import generate"))
    assert faults("render", ast.parse("from melformer.generate.state import StreamState"))
    assert not faults("render", ast.parse("from melformer.generate.prompt import Prompt"))
    assert not faults("generate", ast.parse("from melformer import render, audio"))


def test_audio_knows_no_torch() -> None:
    for path in (PACKAGE / "audio").rglob("*.py"):
        roots = {name.split(".")[0] for name in imports(ast.parse(path.read_text(encoding="utf-8")))}
        assert "torch" not in roots, path


def test_heavy_imports_stand_where_they_are_used() -> None:
    for path in FILES:
        if room_of(path) in {"ui", "app"}:
            continue  # the page is gradio
        tree = ast.parse(path.read_text(encoding="utf-8"))
        at_top = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
        assert not {name.split(".")[0] for name in imports(at_top)} & HEAVY, path


def test_requirements_name_all_that_is_imported() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    named = {re.split(r"[<>=!~ ]", line)[0].replace("-", "_") for line in lines if line and not line.startswith("#")}
    own_or_standard = {"melformer", "app", "__future__", *sys.stdlib_module_names}
    for path in FILES:
        roots = {name.split(".")[0] for name in imports(ast.parse(path.read_text(encoding="utf-8")))}
        assert roots - own_or_standard - OPTIONAL <= named, path


def test_the_front_door() -> None:
    for name in melformer.__all__:
        assert getattr(melformer, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        _ = melformer.nothing


@pytest.mark.parametrize("module", ["melformer.render.renderer", "melformer.render.reconstruct"])
def test_what_the_pipeline_uses_can_be_imported_without_it(module: str) -> None:
    code = f"import sys, {module}; print('melformer.generate.pipeline' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_importing_the_package_and_the_command_line_is_light() -> None:
    code = "import sys, melformer.cli; print([m for m in ('torch', 'gradio', 'scipy') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
