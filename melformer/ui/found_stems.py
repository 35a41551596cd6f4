"""The stems that loops were separated into: shared by all who play a loop, and gone with it."""

from typing import Any
from weakref import WeakKeyDictionary

from melformer.ui.loops import PromptLoop


class FoundStems:
    """Stems by loop, as long as the loop is in use somewhere. Safe to use from several threads."""

    def __init__(self) -> None:
        self._found: WeakKeyDictionary[PromptLoop, Any] = WeakKeyDictionary()

    def of(self, loop: PromptLoop) -> Any:
        """The loop's stems: its player's own, or those that were found; None before."""
        return self._found.get(loop) if loop.prompt.stems is None else loop.prompt.stems

    def put(self, loop: PromptLoop, stems: Any) -> None:
        self._found[loop] = stems
