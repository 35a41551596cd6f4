"""The model card: valid front matter, every source with its licence, and only numbers that were given."""

from dataclasses import replace
from pathlib import Path

import huggingface_hub

from melformer.hub.card import ModelCard, Source

CARD = ModelCard(
    name="someone/a-model",
    sources=[Source("Our own synthesis", "CC0-1.0", 12.5), Source("One-shots", "CC0-1.0")],
    n_parameters={"codec": 9_000_000, "transformer": 12_000_000},
    steps={"codec": 20_000, "transformer": 30_000},
    compute={"codec": "1.5 h"},
    machine="2 CPU cores",
)


def test_the_hub_can_read_it() -> None:
    data = huggingface_hub.ModelCard(CARD.render()).data
    assert (data.license, data.library_name) == ("mit", "melformer")


def test_it_lists_what_it_was_made_of() -> None:
    text = CARD.render()
    rows = ["Our own synthesis | CC0-1.0 | 12.5", "One-shots | CC0-1.0 | ",
            "codec | 9,000,000 | 20,000 | 1.5 h", "transformer | 12,000,000 | 30,000 | "]  # fmt: skip
    assert all(f"| {row} |" in text for row in rows)
    assert "2 CPU cores" in text


def test_nothing_is_claimed_that_was_not_measured() -> None:
    assert "Measured" not in CARD.render()
    measured = replace(CARD, evaluation={"mel distance": 1.23456}, command="melformer evaluate x")
    assert "By `melformer evaluate x`" in measured.render()
    assert "| mel distance | 1.235 |" in measured.render()


def test_it_names_what_it_came_from_and_not_where_that_lay(tmp_path: Path) -> None:
    (tmp_path / "my_model").mkdir()
    assert "Fine-tuned from my_model.\n" in replace(CARD, base_model=str(tmp_path / "my_model")).render()
    assert "Fine-tuned from someone/a-model.\n" in replace(CARD, base_model="someone/a-model").render()
