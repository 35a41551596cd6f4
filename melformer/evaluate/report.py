"""`melformer evaluate`: a folder of loops in, a report out, by the protocol of docs/explanation/evaluation.md."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from melformer.audio.grid import BeatGrid, model_tempo
from melformer.audio.waveform import Waveform
from melformer.errors import RequestError
from melformer.evaluate import codec_scores, tables
from melformer.evaluate import protocol as continuations
from melformer.evaluate.metrics.codebook_use import bits_per_second
from melformer.evaluate.sets import EvaluationClip, folder_clips
from melformer.evaluate.summary import ContinuationSystem, summarise

if TYPE_CHECKING:
    from melformer.evaluate.transformer_scores import TransformerReport
    from melformer.generate.pipeline import Melformer

PROTOCOL = 2
MAX_BEATS = 64
PARTS = ("codec", "continuation", "transformer")


@dataclass(frozen=True)
class Report:
    """Everything that was measured; parts that were not asked for, or need a model and had none, are None."""

    protocol: int
    folder: str
    n_loops: int
    left_out: list[str]  # files that could not be read, and why; parts that could not be measured, and why
    codec: dict[str, codec_scores.SystemScores] | None
    codes: codec_scores.CodesReport | None
    continuation: dict[str, ContinuationSystem] | None
    transformer: "TransformerReport | None"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes None."""
        return plain(asdict(self))

    def to_json(self) -> str:
        return json.dumps(self.to_dict())

    def to_text(self) -> str:
        """Tables for people."""
        parts = [f"Melformer evaluation, protocol {self.protocol}: {self.n_loops} loops of {self.folder}"]
        if self.codec:
            parts += ["Codec", tables.systems_table(self.codec)]
        if self.codes:
            parts += [tables.codes_table(self.codes)]
        if self.continuation:
            parts += [
                "Continuation: what is new, and an independent listener",
                tables.new_beats_table(self.continuation),
            ]
            parts += ["Continuation, against the prompt", tables.continuation_table(self.continuation)]
            if any(system.mean_truth.mel_distance >= 0.0 for system in self.continuation.values()):  # not NaN
                parts += ["Continuation, against the truth", tables.truth_table(self.continuation)]
            parts += ["Groove, chroma and drift beside the truth's", tables.manner_table(self.continuation)]
        if self.transformer:
            parts += ["Transformer, bits per beat", tables.transformer_table(self.transformer)]
        return "\n\n".join([*parts, *(f"Left out: {line}" for line in self.left_out)])


def evaluate(
    folder: str | Path,
    model: "Melformer | None" = None,
    *,
    candidate: str | Path | None = None,
    parts: tuple[str, ...] = PARTS,
    references: bool = True,
    systems: Sequence[str] | None = None,
    variations: Sequence[float] = (),
    limit: int | None = None,
    n_new: int | None = None,
    n_takes: int = 1,
    beats_per_bar: int = 4,
    seed: int = 0,
    quick: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Measure a model, another system's files (`candidate`), or the references alone, on a folder of loops.

    `n_new` continues whole loops by so many beats instead of cutting them in two. At most the first 64 beats of a loop
    count. `systems` are the rows wanted of the continuation part; at `variations` the model has more of them. `n_takes`
    seeds from `seed` on are drawn of those that draw. `quick` leaves out the continuations' distances to the truth.
    `progress` is told what is done.
    Errors: AudioError for a folder without usable loops, RequestError for an unknown part or row, or a count under 1.
    """
    unknown = set(parts) - set(PARTS)
    if unknown or not parts or (limit is not None and limit < 1):
        raise RequestError(f"parts are {', '.join(PARTS)} and a limit is at least 1; got {parts} and {limit}")
    if n_takes < 1:
        raise RequestError(f"continuations are drawn once or more, got {n_takes} takes")
    say = progress or (lambda text: None)
    clips, left_out = folder_clips(folder)
    clips = [at_most(clip, MAX_BEATS) for clip in clips[:limit]]
    codec, codes, continuation, transformer = None, None, None, None
    if "codec" in parts:
        say(f"codec: {len(clips)} loops")
        codec, codes = _codec(clips, model, references)
    if "continuation" in parts:
        cases = [continuations.cut(clip, beats_per_bar, n_new) for clip in clips]
        found: dict[str, continuations.System] = {}
        if candidate is not None:
            found["candidate"], missing = continuations.candidate_system(candidate, cases)
            left_out += [f"{name}: the candidate has no file of this name" for name in missing]
        found |= _systems(cases, model, references or (model is None and candidate is None), seed, variations)
        if systems is not None:
            unknown = set(systems) - set(found)
            if unknown or not systems:
                raise RequestError(f"systems are {', '.join(found)}; got {', '.join(systems) or 'none'}")
            bold = [name for name in found if name.startswith(f"{continuations.MELFORMER}, ")]
            found = {name: found[name] for name in found if name in (*systems, *bold)}
        say(f"continuation: {len(cases)} loops")
        embed, missing = _listener()
        left_out += missing
        continuation = summarise(continuations.run(cases, found, n_takes, embed, quick))
    if "transformer" in parts and model is not None:
        say("transformer")
        try:
            transformer = _transformer(clips, model, beats_per_bar)
        except RequestError as error:
            left_out.append(f"transformer: {error}")
    return Report(PROTOCOL, str(folder), len(clips), left_out, codec, codes, continuation, transformer)


def _listener() -> tuple[Callable[[Waveform], np.ndarray] | None, list[str]]:
    """An independent listener's embedding, or why there is none."""
    from melformer.evaluate.metrics.embedding import musicnn

    path = musicnn.weights_file()
    if path is None:
        command = f"pip download musicnn==0.1.0 --no-deps -d {musicnn.CACHE}"
        return None, [f"independent listener: MusiCNN's weights are not there ({command})"]
    return musicnn.MusiCNN.from_wheel(path).embed, []


def at_most(clip: EvaluationClip, n_beats: int) -> EvaluationClip:
    """The clip, or its first `n_beats` beats."""
    if clip.n_beats <= n_beats:
        return clip
    stop = BeatGrid(clip.bpm, clip.waveform.sample_rate).edge(n_beats)
    return EvaluationClip(clip.name, clip.waveform.slice(0, stop), clip.bpm, n_beats)


def _codec(
    clips: list[EvaluationClip], model: "Melformer | None", references: bool
) -> tuple[dict[str, codec_scores.SystemScores] | None, codec_scores.CodesReport | None]:
    systems = codec_scores.measure_references(clips) if references else {}
    if model is None:
        return systems or None, None
    codec, config = model.codec, model.config.codec
    sizes = (config.latent_frames_per_beat, config.n_codebooks, config.codebook_size)
    ours = codec_scores.measure_codec(
        clips, codec.reconstruct, lambda bpm: bits_per_second(*sizes, model_tempo(bpm)[0]) / 1000.0
    )
    return {"Melformer": ours, **systems}, codec_scores.measure_codes(clips, codec.encode_loop, config.codebook_size)


def _systems(
    cases: list[continuations.Case],
    model: "Melformer | None",
    references: bool,
    seed: int,
    variations: Sequence[float],
) -> dict[str, continuations.System]:
    systems: dict[str, continuations.System] = {}
    if model is not None:
        from melformer.evaluate.systems.model_systems import model_systems

        systems |= model_systems(model, seed, variations=variations)
    if references:
        systems |= continuations.reference_systems(cases)
    return systems


def _transformer(clips: list[EvaluationClip], model: "Melformer", beats_per_bar: int) -> "TransformerReport":
    from melformer.evaluate.transformer_scores import CodePassage, measure_transformer

    passages = []
    for clip in clips:
        folded, factor = model_tempo(clip.bpm)
        bar = max(1, round(beats_per_bar * factor))
        passages.append(CodePassage(clip.name, model.encode(clip.waveform, clip.bpm), folded, bar))
    return measure_transformer(model.transformer, passages)


def plain(value: Any) -> Any:
    """Dictionaries, lists, numbers and text, with None for what is not finite."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
