"""Prompt in, beats out: the only place where separator, codec and transformer meet."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from melformer.generate.generated import Continuation
    from melformer.generate.generation_config import GenerationConfig
    from melformer.generate.pipeline import Melformer
    from melformer.generate.prompt import Prompt
    from melformer.generate.state import StreamState
    from melformer.generate.stream import Beat, BeatStream

__all__ = ["Beat", "BeatStream", "Continuation", "GenerationConfig", "Melformer", "Prompt", "StreamState"]
_FILES = {"Continuation": "generated", "GenerationConfig": "generation_config", "Melformer": "pipeline"}
_FILES |= {"Prompt": "prompt", "StreamState": "state", "Beat": "stream", "BeatStream": "stream"}


def __getattr__(name: str) -> Any:
    """Fetch the public names when they are asked for: the renderers know `Prompt`, and the pipeline the renderers."""
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"melformer.generate.{_FILES[name]}"), name)
