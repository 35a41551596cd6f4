"""Prompt in, beats out: the only place where separator, codec and transformer meet."""

from melformer.generate.generated import Continuation
from melformer.generate.generation_config import GenerationConfig
from melformer.generate.pipeline import Melformer
from melformer.generate.prompt import Prompt
from melformer.generate.state import StreamState
from melformer.generate.stream import Beat, BeatStream

__all__ = ["Beat", "BeatStream", "Continuation", "GenerationConfig", "Melformer", "Prompt", "StreamState"]
