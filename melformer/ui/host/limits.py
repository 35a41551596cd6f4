"""What a host allows: every limit of the page, each set by one environment variable."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from melformer.errors import ConfigError

PREFIX = "MELFORMER_"


def _limit(default: float, low: float, high: float, meaning: str) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "meaning": meaning})


@dataclass(frozen=True)
class Limits:
    """Bounds on what one visitor may ask of the host; each is the variable MELFORMER_<NAME IN CAPITALS>."""

    upload_mb: int = _limit(20, 1, 1000, "largest file that can be uploaded, MB")
    prompt_beats: int = _limit(64, 4, 64, "longest loop, beats; of a longer one the last bars are used")
    prompt_s: int = _limit(120, 5, 600, "longest part of an upload that is used, seconds")
    prompt_values: int = _limit(12_000_000, 1_000_000, 200_000_000, "samples, all channels, that are used of an upload")
    beats: int = _limit(256, 1, 512, "most beats in one request")
    endless_beats: int = _limit(1280, 16, 100_000, "beats after which an endless stream pauses")
    shared_beats: int = _limit(64, 4, 100_000, "beats after which an endless stream makes way for others")
    batch: int = _limit(4, 1, 16, "most takes made at once")
    kept_takes: int = _limit(24, 1, 200, "takes kept in a session; the oldest goes first")
    players: int = _limit(4, 1, 64, "most streams at the same time, if the machine is fast enough for them")
    queue: int = _limit(8, 1, 1000, "most people waiting or playing; the next one is asked to come back")
    sessions: int = _limit(64, 1, 10_000, "sessions kept in memory; the longest unused goes first")
    session_minutes: int = _limit(30, 1, 1440, "minutes after which an unused session is forgotten")
    take_mb: int = _limit(256, 10, 100_000, "longest take, MB of 32-bit samples; an endless stream pauses there")
    session_mb: int = _limit(1000, 50, 1_000_000, "disk that a session's takes and files may fill, MB")
    memory_mb: int = _limit(200, 20, 1_000_000, "memory for the loops of all sessions, MB; the others are on disk")
    work: int = _limit(12, 1, 24, "most calls that wait while loops are read and files written")
    files_mb: int = _limit(1000, 10, 1_000_000, "disk for files that `/continue_whole` made, MB; the oldest goes first")
    disk_mb: int = _limit(20_000, 100, 10_000_000, "disk that the files of all visitors may fill, MB")
    ahead_s: float = _limit(2.0, 0.5, 30.0, "seconds that a stream is made ahead of what is heard")

    def __post_init__(self) -> None:
        for item in fields(self):
            value, low, high = getattr(self, item.name), item.metadata["low"], item.metadata["high"]
            if not low <= value <= high:
                raise ConfigError(
                    f"{PREFIX}{item.name.upper()} is {value}, but it must lie between {low} and {high} "
                    f"({item.metadata['meaning']})."
                )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Limits":
        """Read the limits. Errors: ConfigError for a value that is no number or out of its range."""
        environment = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        for item in fields(cls):
            name = PREFIX + item.name.upper()
            if name not in environment:
                continue
            number = float if item.type in (float, "float") else int
            try:
                values[item.name] = number(environment[name])
            except ValueError:
                raise ConfigError(f"{name} is {environment[name]!r}, but it must be a number.") from None
        return cls(**values)


def limits_table() -> str:
    """The limits as a Markdown table, one row a variable; docs/reference/http.md carries it."""
    rows = ["| variable | default | from | to | meaning |", "|---|---|---|---|---|"]
    for item in fields(Limits):
        name, data = PREFIX + item.name.upper(), item.metadata
        rows.append(f"| `{name}` | {item.default} | {data['low']} | {data['high']} | {data['meaning']} |")
    return "\n".join(rows)
