"""The state of a session as plain numbers and words, the way the page shows it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from melformer.ui.takes.loops import PromptLoop
from melformer.ui.takes.take import Take
from melformer.ui.wire import code_columns, pack_codes

END_SENTENCES = {
    "done": "",
    "stopped": "Press Extend to carry on.",
    "left": "",
    "rest": "Paused after {n_beats:,} beats. Press Extend to carry on.",
    "others": "Someone is waiting, so your stream has paused. Press Extend to rejoin the queue.",
}


def end_sentence(performance: Any) -> str:
    return END_SENTENCES.get(performance.reason, "").format(n_beats=performance.take.n_beats)


def view_loop(loop: PromptLoop, pcm_path: Path) -> dict[str, Any]:
    """The loop with its codes and the file of its samples, as the page draws and plays it."""
    waveform = loop.prompt.waveform
    return {
        "name": loop.name,
        "example": loop.example,
        "bpm": loop.prompt.bpm,
        "source": loop.source,
        "confidence": round(float(loop.confidence), 2),
        "messages": list(loop.messages),
        "n_beats": loop.prompt.n_beats,
        "beats_per_bar": loop.beats_per_bar,
        "sample_rate": waveform.sample_rate,
        "n_channels": waveform.n_channels,
        "edges": loop.edges().tolist(),
        "pcm_path": str(pcm_path),
        "codes": pack_codes(code_columns(loop.prompt.codes)),
        "key": loop.key,
    }


def view_take(take: Take) -> dict[str, Any]:
    """A line in the list of takes; its samples are fetched when they are wanted."""
    begun_with = take.begun_with
    return {
        "number": take.number,
        "name": take.name,
        "favourite": take.favourite,
        "seed": take.seed,
        "n_beats": take.n_beats,
        "n_unlike": take.n_unlike,
        "temperature": take.config.temperature,
        "variation": take.config.variation,
        "density": take.config.density,
        "keep": list(take.config.keep),
        "mute": list(take.config.mute),
        "top_k": take.config.top_k,
        "top_p": take.config.top_p,
        "steered": None
        if begun_with is None
        else {"temperature": begun_with.temperature, "variation": begun_with.variation},
        "closed": take.closed,
        "edited": take.edited,
        "beats_per_bar": take.loop.beats_per_bar,
        "loop_key": take.loop.key,
        "loop_name": take.loop.name,
        "bpm": take.loop.prompt.bpm,
        "seconds": round(take.n_new_samples / take.tape.sample_rate, 2),
    }


def view_of(
    loop: PromptLoop | None, takes: Iterable[Take], can_undo: bool, can_redo: bool, running: bool
) -> dict[str, Any]:
    """The whole session but for samples: loops are sent apart, by their key, since they are large."""
    return {
        "loop_key": None if loop is None else loop.key,
        "takes": [view_take(take) for take in takes],
        "can_undo": can_undo,
        "can_redo": can_redo,
        "running": running,
    }
