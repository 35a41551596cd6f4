"""One word, one concept: no two classes of one name, and no two files of one name where the folder does not tell."""

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "melformer"
PLAIN = {"__init__.py", "codec.py", "decoder.py", "pointer.py", "reconstruct.py", "transformer.py", "separator.py"}
"""Files whose folder says which is meant: what a model is (`codec/`), how it is trained (`train/`)."""


def homonyms(names: list[tuple[str, str]]) -> dict[str, list[str]]:
    """Names that stand in more than one place, from (name, place).

    >>> homonyms([("Clip", "a.py"), ("Loop", "a.py"), ("Clip", "b.py")])
    {'Clip': ['a.py', 'b.py']}
    """
    places = defaultdict(list)
    for name, place in names:
        places[name].append(place)
    return {name: found for name, found in places.items() if len(found) > 1}


def test_no_class_has_two_meanings() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [(node.name, str(path)) for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert len(found) > 100
    assert not homonyms(found)


def test_no_two_files_have_one_name() -> None:
    files = [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent.name != "cli"]  # named as their commands are
    assert not homonyms([(path.name, str(path)) for path in files if path.name not in PLAIN])


def test_homonyms_are_found() -> None:
    assert homonyms([("Clip", "a.py"), ("Loop", "a.py"), ("Clip", "b.py")]) == {"Clip": ["a.py", "b.py"]}
