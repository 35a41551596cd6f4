"""SECURITY.md names a test for every promise; here is whether each of them exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def test_every_promise_names_tests_that_exist() -> None:
    rows = [line for line in (ROOT / "SECURITY.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    promises = [row.strip("|").split("|") for row in rows if row.count("|") == 4 and not row.startswith("| promise")]
    assert len(promises) > 20
    for promise, mechanism, tests in promises:
        named = NAMED.findall(tests)
        assert named and mechanism.strip(), promise
        assert not NAMED.sub("", tests).strip(), promise
        for file, name in named:
            tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
            assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{name}"


def test_the_bounds_that_are_named_are_the_bounds_that_are_asked_for() -> None:
    document = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    asked = dict(re.findall(r"^(\w+)>=([\d.]+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE))
    holes = re.findall(r"^\| CVE-[\d-]+, (\w+) before ([\d.]+):", document, re.MULTILINE)
    assert {name for name, _ in holes} == {"torch", "starlette"}
    for name, mended in holes:
        assert [int(part) for part in asked[name].split(".")] >= [int(part) for part in mended.split(".")]


def test_every_mutation_takes_away_a_guard_that_is_there() -> None:
    import sys

    sys.path.insert(0, str(ROOT / "tools"))
    from mutations import MUTATIONS

    assert len(MUTATIONS) == 20 == len({mutation.name for mutation in MUTATIONS})
    named = {file for file, _ in NAMED.findall((ROOT / "SECURITY.md").read_text(encoding="utf-8"))}
    for mutation in MUTATIONS:
        text = (ROOT / "melformer" / mutation.file).read_text(encoding="utf-8")
        assert text.count(mutation.old) == 1, mutation.name
        assert {test.split("::")[0] for test in mutation.tests} <= named
