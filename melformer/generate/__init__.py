"""Prompt in, beats out: the only place where codec and transformer meet."""

from melformer.generate.pipeline import Continuation, Melformer
from melformer.generate.prompt import Prompt
from melformer.generate.sampling import GenerationConfig
from melformer.generate.state import StreamState
from melformer.generate.stream import BeatStream
from melformer.generate.take_batch import Beat

__all__ = ["Beat", "BeatStream", "Continuation", "GenerationConfig", "Melformer", "Prompt", "StreamState"]
