"""Results as data: what was measured, by which command, on which machine, at which commit and when."""

import json
import os
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from melformer.evaluate.report import Report, plain
from melformer.files import atomic_path


def provenance(command: str) -> dict[str, Any]:
    """Where a figure comes from; `commit` is None outside of a checkout, and ends in + where files were changed."""
    n_cores = len(os.sched_getaffinity(0))
    return {
        "command": command,
        "machine": f"{_processor()}, {n_cores} core{'s' if n_cores > 1 else ''}",
        "commit": _commit(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
    }


def write_results(path: str | Path, command: str, values: dict[str, Any]) -> None:
    """Write values with their provenance as JSON, whole or not at all; NaN becomes null."""
    text = json.dumps({**provenance(command), **plain(values)}, indent=1)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def report_results(report: Report) -> dict[str, Any]:
    """A report without its single clips: what tables and pictures are made from."""
    values = report.to_dict()
    for part, rows in (("continuation", "cases"), ("codec", "clips")):
        for system in (values[part] or {}).values():
            system["n"] = len(system.pop(rows))
    return values


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--abbrev=7"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
