"""Hostile inputs for the readers: plain damage to good ones, and values that nobody should send."""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

WORDS = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x01\0\0\0", b"\0\0\0\x01",
         b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\x80\0\0\0"]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, -1, 0, 1, 2, 3, 4, 5, 16, 64, 120, 257, 2**31 - 1, 2**31, 2**53, 2**63, 2**64, 10**400,
    -(2**63), 0.5, -0.0, 1e-320, 1e308, math.nan, math.inf, -math.inf, "", "4", "0x10", "nan", "1e999", "½", "١٢",
    "a" * 5_000, "../../etc/passwd", "/etc/passwd", "nul\0nul", "\ud800", "🥁", "<img src=x onerror=alert(1)>",
    "wav", "whole", [], {}, [[]], [None], [1, 2, 3, 4], {"from": 0}, {"path": "/etc/passwd"},
]  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """Something that reads what strangers made.

    `prepare` makes good inputs in a folder of its own; `hostile` damages one; `use` does with it all that the
    package does, and may raise a MelformerError only. `strategy`: Hypothesis' way to inputs of the same kind.
    `share`: of all cases. `cpu_s`: what a case may take at most.
    """

    name: str
    share: float
    prepare: Callable[[Path], Any]
    hostile: Callable[[Any, np.random.Generator], Any]
    use: Callable[[Any, Any], None]
    strategy: Callable[[Any], st.SearchStrategy] | None = None
    cpu_s: int = 10


def damage(data: bytes, rng: np.random.Generator, reach: int = 200) -> bytes:
    """One to three kinds of damage, mostly in the first `reach` bytes, where the lengths and rates are."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        far = rng.random() < 0.3
        at = int(rng.integers(0, max(1, len(changed) if far else min(len(changed), reach))))
        _DAMAGES[int(rng.integers(len(_DAMAGES)))](changed, at, rng)
    return bytes(changed)


def _one_byte(data: bytearray, at: int, rng: np.random.Generator) -> None:
    data[at : at + 1] = bytes([int(rng.integers(256))])


def _one_bit(data: bytearray, at: int, rng: np.random.Generator) -> None:
    if data:
        data[at] ^= 1 << int(rng.integers(8))


def _a_word(data: bytearray, at: int, rng: np.random.Generator) -> None:
    data[at : at + 4] = WORDS[int(rng.integers(len(WORDS)))]


def _a_little_more(data: bytearray, at: int, rng: np.random.Generator) -> None:
    if data:
        data[at] = (data[at] + int(rng.integers(-3, 4))) % 256


def _cut_off(data: bytearray, at: int, rng: np.random.Generator) -> None:
    del data[at:]


def _cut_out(data: bytearray, at: int, rng: np.random.Generator) -> None:
    del data[at : at + int(rng.integers(1, 40))]


def _put_in(data: bytearray, at: int, rng: np.random.Generator) -> None:
    data[at:at] = rng.integers(0, 256, int(rng.integers(1, 40)), dtype=np.uint8).tobytes()


def _say_again(data: bytearray, at: int, rng: np.random.Generator) -> None:
    start = int(rng.integers(0, max(1, len(data))))
    data[at:at] = data[start : start + int(rng.integers(1, 400))]


_DAMAGES = [_one_byte, _one_bit, _a_word, _a_little_more, _cut_off, _cut_out, _put_in, _say_again]


def damage_value(value: Any, rng: np.random.Generator) -> Any:
    """A copy of a JSON value in which one to three places hold something else, or are gone, or are new."""
    value = deepcopy(value)
    for _ in range(int(rng.integers(1, 4))):
        value = _damage_one(value, rng)
    return value


def _damage_one(value: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.95:
        key = list(value)[int(rng.integers(len(value)))]
        kind = rng.random()
        if kind < 0.1:
            del value[key]
        elif kind < 0.15:
            value[str(hostile_value(rng))[:40]] = hostile_value(rng)
        else:
            value[key] = _damage_one(value[key], rng)
        return value
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = int(rng.integers(len(value)))
        value[at] = _damage_one(value[at], rng)
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and rng.random() < 0.4:
        step = [-1, 1, -value, value, 0.5, 1e9][int(rng.integers(6))]
        return value + step if isinstance(value, float) or abs(value) < 2**1000 else -value
    return hostile_value(rng)


def hostile_value(rng: np.random.Generator) -> Any:
    return deepcopy(VALUES[int(rng.integers(len(VALUES)))])


def json_values() -> st.SearchStrategy:
    """Any JSON value, with the numbers and words above among them."""
    leaves = st.one_of(
        st.sampled_from(VALUES), st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30)
    )
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=6),
        max_leaves=12,
    )  # fmt: skip


def like(good: dict[str, Any]) -> st.SearchStrategy:
    """Dictionaries with the keys of a good one: each value good or hostile, some keys missing."""
    return st.fixed_dictionaries({}, optional={key: st.just(value) | json_values() for key, value in good.items()})
