"""Melformer continues a musician's loop, locked to the beat.

from melformer import Melformer
model = Melformer.from_pretrained()
take = model.generate("loop_120bpm.wav", n_beats=16, seed=7)
take.save("out.wav")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from melformer.audio.io import Waveform
    from melformer.generate import Continuation, GenerationConfig, Melformer, StreamState

__all__ = ["Continuation", "GenerationConfig", "Melformer", "StreamState", "Waveform"]


def __getattr__(name: str) -> Any:
    """Fetch the public names when they are asked for: they import torch, and `melformer --help` must not."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("melformer.audio.io" if name == "Waveform" else "melformer.generate"), name)
