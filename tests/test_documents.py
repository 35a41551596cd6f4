"""What the documents tell people to type must work, and the Space's front matter must be one the Hub accepts."""

import re
import shlex
from pathlib import Path

import make_clips
import make_reference
import pytest
from huggingface_hub import SpaceCard
from packaging.version import Version

from melformer import cli

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


def commands(text: str) -> list[str]:
    """The `melformer …` lines of code blocks, without their comments; lines that show a form are left out."""
    lines = [line.strip().removeprefix("$ ").split("  #")[0] for line in text.splitlines()]
    return [line for line in lines if line.startswith("melformer ") and not re.search(r"[\[\]…|]|\.\.\.", line)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_documents_can_be_typed(path: Path) -> None:
    for command in commands(path.read_text(encoding="utf-8")):
        arguments = shlex.split(command)[1:]
        assert cli.build_parser().parse_args(arguments).run, command


def test_commands_are_found() -> None:
    assert commands("    melformer hub pull a/b  # comment\ntext melformer\n$ melformer x [-o]\n") == [
        "melformer hub pull a/b"
    ]
    assert commands((ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target, place in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        document = path.parent / target if target else path
        assert document.exists(), target
        if place:
            assert place in headings(document.read_text(encoding="utf-8")), f"{target}#{place}"


def headings(text: str) -> set[str]:
    """The names by which a Markdown document's headings can be linked to."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_other_commands_name_what_there_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for module in re.findall(r"python -m ((?:melformer|benchmarks)[\w.]*)", text):
        where = ROOT / module.rstrip(".").replace(".", "/")
        assert where.with_suffix(".py").exists() or (where / "__main__.py").exists(), module
    for script in re.findall(r"\b((?:tests|tools|experiments|benchmarks)/[\w/-]+\.py)\b", text):
        assert (ROOT / script).exists(), script
    for test in re.findall(r"`(test_\w+\.py)(?:::(\w+))?", text):
        assert (ROOT / "tests" / test[0]).exists(), test
        assert test[1] in (ROOT / "tests" / test[0]).read_text(encoding="utf-8"), test
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^ {4}make ([a-z]+)|`make ([a-z]+)", text, re.MULTILINE)) <= {
        pair for target in targets for pair in ((target, ""), ("", target))
    }


@pytest.mark.parametrize("name", make_reference.TEXTS)
def test_references_are_those_of_the_code(name: str) -> None:
    written = (make_reference.FOLDER / name).read_text(encoding="utf-8")
    assert make_reference.TEXTS[name]() == written, "run `make reference`"


def test_the_clips_are_those_that_are_written_about() -> None:
    assert (make_clips.FOLDER / "README.md").read_text(encoding="utf-8") == make_clips.page(), "run `make clips`"
    assert make_clips.table() in (ROOT / "README.md").read_text(encoding="utf-8"), "run `make clips`"
    files = {f"{clip.name}{suffix}" for clip in make_clips.CLIPS for suffix in (".ogg", ".webp")}
    assert {path.name for path in make_clips.FOLDER.iterdir()} == {*files, "README.md"}
    assert sum(path.stat().st_size for path in make_clips.FOLDER.iterdir()) <= make_clips.MAX_BYTES


def test_every_document_can_be_found() -> None:
    """From the list of documents, or for a decision from the list of decisions."""
    docs = ROOT / "docs"
    for folder, pages in (
        (docs, docs.glob("[!d]*/*.md")),
        (docs / "decisions", (docs / "decisions").glob("[0-9]*.md")),
    ):
        index = (folder / "README.md").read_text(encoding="utf-8")
        missing = [page.name for page in pages if f"({page.relative_to(folder)})" not in index]
        assert not missing, f"{folder}/README.md does not name {missing}"


def test_the_space_is_described_as_the_hub_wants() -> None:
    card = SpaceCard((ROOT / "README.md").read_text(encoding="utf-8")).data.to_dict()
    assert card["sdk"] == "gradio" and (ROOT / card["app_file"]).exists()
    assert {card["colorFrom"], card["colorTo"]} <= COLOURS
    assert len(card["short_description"]) <= 60
    bound = re.search(r"^gradio>=([\d.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert bound and Version(card["sdk_version"]) >= Version(bound[1])
