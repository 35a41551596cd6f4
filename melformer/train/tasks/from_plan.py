"""Tasks from the plans of training runs: material, first weights, and what their checkpoints hold."""

import platform
from functools import partial
from pathlib import Path
from typing import Any

import torch

from melformer.codec.codec import Codec
from melformer.config import Config
from melformer.corpus.midi import MidiFolder
from melformer.data.beat_dataset import material_sources
from melformer.data.fresh import FreshBeats, FreshTokens
from melformer.data.source_pairs import read_pairs
from melformer.data.tokens import token_facts
from melformer.data.unit_dataset import UnitClip, gather_units
from melformer.hub import ModelCard, Source, find_bundle, load_bundle, save_bundle
from melformer.hub.bundle import CARD_FILE, half_precision
from melformer.hub.codec_folder import save_codec
from melformer.hub.parts import load_pointer, load_separator
from melformer.stems.separator import SEPARATORS
from melformer.train.options import TrainOptions
from melformer.train.pretrained import load_transformer, read_codec, where_shapes_agree
from melformer.train.previews import continued
from melformer.train.tasks.codec import CodecTask
from melformer.train.tasks.pointer import PointerTask
from melformer.train.tasks.scorer import ScorerTask
from melformer.train.tasks.separator import SeparatorTask, gather
from melformer.train.tasks.transformer import TransformerTask
from melformer.train.tempo.tempo_network import TEMPO_NETWORKS
from melformer.train.tempo.tempo_task import DECODER_STEPS, TempoTask
from melformer.transformer.model import BeatTransformer
from melformer.transformer.pointer import POINTERS


def task_of(plan: dict[str, Any], run: Path, options: TrainOptions) -> Any:
    """The task of a plan's stage, with its first weights where the run has none yet; material lies prepared."""
    make = {
        "codec": _codec_task, "pointer": _pointer_task, "scorer": _scorer_task, "separator": _separator_task,
        "tempo": _tempo_task, "transformer": _transformer_task,
    }  # fmt: skip
    return make[plan["stage"]](plan, run, options)


def folders(plan: dict[str, Any]) -> list[Path]:
    """Where a plan's material lies."""
    return [Path(folder) for folder in plan["data"]]


def _separator_task(plan: dict[str, Any], run: Path, options: TrainOptions) -> SeparatorTask:
    config = SEPARATORS[plan["preset"]]
    starts = plan["init"] and not (run / "state.pt").exists()
    given = load_separator(find_bundle(plan["init"])[0]) if starts else None
    task = SeparatorTask(gather(folders(plan), Path(plan["cache"])), options, given.config if given else config)
    if given is not None:
        task.module.load_state_dict(given.state_dict())
    task.sources = material_sources(folders(plan))[1]
    return task


def _pointer_task(plan: dict[str, Any], run: Path, options: TrainOptions) -> PointerTask:
    starts = plan["init"] and not (run / "state.pt").exists()
    given = load_pointer(find_bundle(plan["init"])[0]) if starts else None
    task = PointerTask(units(plan), options, given.config if given else POINTERS[plan["preset"]])
    if given is not None:
        task.module.load_state_dict(given.state_dict())
    task.sources = material_sources(folders(plan))[1]
    return task


def units(plan: dict[str, Any]) -> list[UnitClip]:
    """Passages by their true stems and as separated; prepared where they are not yet."""
    return gather_units(folders(plan), Path(plan["cache"]), load_separator(find_bundle(plan.get("separator"))[0]))


def _tempo_task(plan: dict[str, Any], run: Path, options: TrainOptions) -> TempoTask:
    preset, midi = plan["preset"], plan["midi"]
    facts = {"passages": plan["passages"], "midi": MidiFolder(midi, 0).source if midi else None}
    return TempoTask(run / "material", options, TEMPO_NETWORKS[preset], DECODER_STEPS[preset], facts)


def _codec_task(plan: dict[str, Any], run: Path, options: TrainOptions) -> CodecTask:
    config = Config.from_dict(plan["config"])
    task = CodecTask(config, Path(plan["cache"]), options)
    if plan["fresh"]:
        task.train_set = FreshBeats(config.codec.samples_per_beat)
    if plan["init"] and not (run / "state.pt").exists():
        given = read_codec(plan["init"]).codec.state_dict()
        task.module.load_state_dict(where_shapes_agree(given, task.module.state_dict()) if plan["partly"] else given)
    return task


def _scorer_task(plan: dict[str, Any], run: Path, options: TrainOptions) -> ScorerTask:
    frozen = read_codec(plan["codec"])

    def write(directory: Path, codec: Codec, record: dict[str, Any]) -> None:
        if frozen.records is not None:
            save_codec(directory, frozen.config, codec, frozen.records | {"scorer": record}, with_scorer=True)
            return
        bundle = load_bundle(plan["codec"])  # a whole model: everything but the scorer stays
        scorer = half_precision(codec.scorer.state_dict(), "codec.scorer.")
        card = (bundle.path / CARD_FILE).read_text(encoding="utf-8")
        save_bundle(directory, bundle.config, bundle.tensors | scorer, card)

    return ScorerTask(frozen.codec, read_pairs(run / "pairs"), options, write)


def _transformer_task(plan: dict[str, Any], run: Path, options: TrainOptions) -> TransformerTask:
    config, frozen = Config.from_dict(plan["config"]), read_codec(plan["codec"])
    codec = frozen.codec

    def write(directory: Path, transformer: BeatTransformer, record: dict[str, Any]) -> None:
        parts = {"codec": codec, "transformer": transformer}
        tensors: dict[str, torch.Tensor] = {}
        for name, part in parts.items():
            tensors |= half_precision(part.state_dict(), f"{name}.")
        records = {"transformer": record} | (frozen.records or {})
        save_bundle(directory, config, tensors, _card(parts, records, plan).render())

    task = TransformerTask(
        config, _tokens(plan, run), options, write=write, continued=partial(continued, config, codec)
    )
    if plan["init"] and not (run / "state.pt").exists():
        load_transformer(task.module.transformer, load_bundle(plan["init"]))
    if plan["fresh"]:
        task.train_set = FreshTokens(codec)
    return task


def _tokens(plan: dict[str, Any], run: Path) -> Path:
    return Path(plan["tokens"]) if plan.get("tokens") else run / "tokens"


def _card(parts: dict[str, Any], records: dict[str, dict[str, Any]], plan: dict[str, Any]) -> ModelCard:
    if plan.get("tokens"):
        facts = token_facts(Path(plan["tokens"]))
        hours, sources = facts.get("hours", 0.0), facts.get("sources", [])
    else:
        hours, sources = material_sources([Path(folder) for folder in plan["data"]])
    own = [Source("Melformer's composition engine", "MIT", hours)] if hours or plan["fresh"] else []
    from melformer.corpus.midi.notices import NOTICES

    if plan["fresh"]:
        from melformer.corpus.sound_sources import survey

        sources = sorted({*sources, *((m.source["name"], m.source["licence"]) for m in survey() if m.found)})
    listed = [Source(name, licence, notice=NOTICES.get(name, "")) for name, licence in sources]
    own = own or [Source("Loops of the person who trained it", "not stated")]
    measured = {
        f"{part}, {name.replace('_', ' ')} on held-out loops": value
        for part, record in records.items() for name, value in record.get("validation", {}).items()
    }  # fmt: skip
    return ModelCard(
        name="Melformer base", sources=own + listed,
        evaluation=measured, command="melformer train",
        n_parameters={name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()},
        steps={name: record["steps"] for name, record in records.items()},
        compute={
            name: f"{record['seconds'] / 3600:.2f} h x {record['processes']} process(es)"
            for name, record in records.items()
        },
        machine=f"{platform.machine()}, {torch.get_num_threads()} thread(s) a process", base_model=plan["init"],
    )  # fmt: skip
