"""The model card of a bundle: what it was trained on, for how long, how good it is, where it ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_FRONT = """---
license: {licence}
library_name: melformer
pipeline_tag: audio-to-audio
tags: [music, audio, loops, melformer]
---
"""
_USE = """## Use

For continuing a musician's own loop: locked to its beat, mostly in its own sound.

    from melformer import Melformer
    model = Melformer.from_pretrained("user/repo")  # this folder, or where it is on the Hub
    take = model.generate("loop_120bpm.wav", n_beats=16, seed=7)
    take.save("out.wav")

## Limits

It knows the kinds of music that are listed below: instrumental, at one steady tempo. Expect little of
singing or speech. It does not know whose a loop is: what you may do with a continuation depends on your
rights in the loop.
"""


@dataclass(frozen=True)
class Source:
    """Training material of one origin; `hours` of sound, None where it is a part of other material.

    `notice` is what its licence asks to be reproduced.
    """

    name: str
    licence: str
    hours: float | None = None
    notice: str = ""


@dataclass(frozen=True)
class ModelCard:
    """The record of a training. `steps` and `compute` are per part; `evaluation` is measure → value.

    `command` is what printed the evaluation, `machine` where everything ran.
    """

    name: str
    sources: Sequence[Source]
    n_parameters: Mapping[str, int]
    steps: Mapping[str, int]
    compute: Mapping[str, str]
    machine: str
    evaluation: Mapping[str, float] = field(default_factory=dict)
    command: str = ""
    base_model: str | None = None
    licence: str = "mit"

    def render(self) -> str:
        """The card as Markdown, with the Hub's front matter."""
        parts = [_FRONT.format(licence=self.licence) + f"# {self.name}\n"]
        if self.base_model:
            base = Path(self.base_model)
            name = base.resolve().name if base.is_dir() else self.base_model  # where it lies is nobody's business
            parts.append(f"Fine-tuned from {name}.\n")
        parts += [_USE, "## Trained on\n", self._sources()]
        parts += ["## How\n", self._stages(), f"On {self.machine}.\n"]
        if self.evaluation:
            rows = [(name, f"{value:.4g}") for name, value in self.evaluation.items()]
            parts += ["## Measured\n", f"By `{self.command}`:\n", _table(("measure", "value"), rows)]
        return "\n".join(parts)

    def _sources(self) -> str:
        rows = [(s.name, s.licence, "" if s.hours is None else f"{s.hours:.3g}") for s in self.sources]
        notices = [f"{s.name}:\n\n```\n{s.notice.strip()}\n```\n" for s in self.sources if s.notice]
        return "\n".join([_table(("material", "licence", "hours"), rows), *notices])

    def _stages(self) -> str:
        rows = [
            (part, f"{self.n_parameters[part]:,}", self._steps_of(part), self.compute.get(part, ""))
            for part in self.n_parameters
        ]
        return _table(("part", "parameters", "steps", "time"), rows)

    def _steps_of(self, part: str) -> str:
        return f"{self.steps[part]:,}" if part in self.steps else "taken over"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
