"""One corpus written by several machines: who writes which passages, and the index when all have written theirs."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO, TypeVar

from melformer.errors import RequestError
from melformer.files import atomic_path, only_writer

Item = TypeVar("Item")
_NAME = re.compile(r"^index-(\d+)-of-(\d+)\.jsonl$")
MOST = 10_000


@dataclass(frozen=True)
class Shard:
    """The `number`-th of `count` equal shares, counted from 1; share 1 of 1 is the whole."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count <= MOST:
            raise RequestError(f"shard {self.number}/{self.count} does not exist: give 1/N to N/N, N up to {MOST:,}")

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read "2/8". Errors: RequestError for anything else."""
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if match is None:
            raise RequestError(f"shard {text!r} is not of the form I/N, for example 2/8")
        return cls(int(match[1]), int(match[2]))

    def share(self, items: Iterator[Item]) -> Iterator[Item]:
        """Every `count`-th item, from the `number`-th on."""
        return islice(items, self.number - 1, None, self.count)

    @contextmanager
    def writing(self, folder: Path) -> Iterator[TextIO]:
        """The file for the share's lines of the index; a share has its final name when it is whole.

        Errors: RequestError while another process writes the same share.
        """
        if self.count == 1:
            with only_writer(folder), (folder / "index.jsonl").open("w", encoding="utf-8") as index:
                yield index
            return
        name = f"{self.number}-of-{self.count}"
        with only_writer(folder, f".writing-{name}"):
            unfinished = folder / f".index-{name}.jsonl"
            with unfinished.open("w", encoding="utf-8") as index:
                yield index
            os.replace(unfinished, folder / f"index-{name}.jsonl")


def merge_shards(folder: Path) -> bool:
    """Make `index.jsonl` of the shares' indexes once all are in the folder; whether they were.

    Lines stand in the order of a corpus that one machine writes. Two processes may merge at once: they write the same.
    """
    names = [match for path in folder.glob("index-*-of-*.jsonl") if (match := _NAME.match(path.name))]
    counts = {int(name[2]) for name in names}
    whole = next((n for n in sorted(counts) if {int(m[1]) for m in names if int(m[2]) == n} == set(range(1, n + 1))), 0)
    if not whole:
        return False
    parts = [folder / f"index-{i}-of-{whole}.jsonl" for i in range(1, whole + 1)]
    try:
        shares = [part.read_text(encoding="utf-8").splitlines() for part in parts]
    except FileNotFoundError:  # another process was faster
        return True
    with atomic_path(folder / "index.jsonl") as temporary, temporary.open("w", encoding="utf-8") as index:
        for place in range(max(len(share) for share in shares)):
            index.writelines(share[place] + "\n" for share in shares if place < len(share))
    for i, part in enumerate(parts, 1):
        part.unlink(missing_ok=True)
        (folder / f".writing-{i}-of-{whole}").unlink(missing_ok=True)
    return True
