"""Calls over plain HTTP: what is left out takes its default, and what is wrong is told in words."""

import json
from typing import Any

import pytest

from melformer.ui.api import API
from melformer.ui.api_calls import ApiCalls, complete


def parameters(name: str) -> list:
    return ApiCalls(None, API).endpoints[name]


def test_missing_values_take_their_defaults() -> None:
    loop = {"path": "/tmp/a.wav"}
    call = json.loads(complete(json.dumps({"data": [loop, 8]}).encode(), parameters("continue")))
    assert call["data"] == [loop, 8, 0, None, 1.0, 0.5, False, 0, 1.0, 1.0, None, None, None, None]


def test_values_by_name_are_left_to_gradio() -> None:
    body = json.dumps({"loop": {"path": "/tmp/a.wav"}, "n_beats": 3}).encode()
    assert complete(body, parameters("continue")) == body


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"data": []}, "loop must be given"),
        ({"data": [1] * 15}, "15 values are too many: this call takes 14"),
        ({"data": "x"}, "JSON object"),
        ([1, 2], "JSON object"),
    ],
)
def test_a_wrong_call_gives_a_sentence(body: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        complete(json.dumps(body).encode(), parameters("continue"))


def test_what_is_no_json_gives_a_sentence() -> None:
    for body in (b"{", b"", b"[" * 100_000):
        with pytest.raises(ValueError, match="JSON object"):
            complete(body, parameters("continue"))
