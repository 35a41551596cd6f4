"""A page as the server sees one: a session, its calls, its stream of events."""

import json
from collections.abc import Iterator
from typing import Any

import httpx

ANSWERS_WITHIN_S = 600.0


class Visitor:
    """Speaks as the page's own script does; `reader` names it to Gradio, `config` is the page's /config."""

    def __init__(self, url: str, config: dict[str, Any], reader: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=ANSWERS_WITHIN_S)
        self.reader = reader
        self.component = next(one["id"] for one in config["components"] if one["props"].get("elem_id") == "melformer")
        play = [one["id"] for one in config["dependencies"] if [self.component, "play"] in one["targets"]]
        self.play_number = play[0]
        self.token = self.call("hello")["ok"]["token"]

    def call(self, what: str, **data: Any) -> dict[str, Any]:
        """The answer of the page's server: {"ok": …} or {"error": sentence}."""
        asked = {"do": what, "token": getattr(self, "token", None), **data}
        body = {"component_id": self.component, "session_hash": self.reader, "fn_name": "call", "data": asked}
        answer = self.client.post("/gradio_api/component_server", json=body)
        return answer.json() if answer.status_code == 200 else {"error": answer.json()["detail"]}

    def stream(self, **wish: Any) -> Iterator[dict[str, Any]]:
        """The messages of a stream, up to its end or until nobody wants more."""
        body = {"fn_index": self.play_number, "data": [], "session_hash": self.reader,
                "event_data": {"token": self.token, **wish}, "trigger_id": self.component}  # fmt: skip
        self.client.post("/gradio_api/queue/join", json=body).raise_for_status()
        with self.client.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.reader}) as events:
            for line in events.iter_lines():
                for message in _messages(line):
                    yield message
                    if message["kind"] in ("end", "error"):
                        return


def _messages(line: str) -> list[dict[str, Any]]:
    """The page's own messages in a line of Gradio's event stream: whole at first, then as changes."""
    if not line.startswith("data: "):
        return []
    output = json.loads(line[6:]).get("output") or {}
    found = []
    for entry in output.get("data", []):
        if isinstance(entry, dict) and "kind" in entry:
            found.append(entry)
        elif isinstance(entry, list):  # [["replace", [path], value], …]
            changed = {change[1][-1]: change[2] for change in entry if change[1]}
            whole: dict[str, Any] = next((change[2] for change in entry if not change[1]), {})
            if "beat" in changed or "kind" in changed or "kind" in whole:
                found.append({"kind": "beat", **changed, **whole})
    return found
