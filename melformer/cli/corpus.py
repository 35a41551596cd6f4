"""`melformer corpus`: music of our own making, to train on."""

from argparse import Namespace
from typing import Any

from melformer.cli.output import print_json
from melformer.cli.parser import add_command, add_group, add_json


def add_parsers(commands: Any) -> None:
    group = add_group(commands, "corpus", "compose and render music to train on")
    parser = add_command(group, "build", build, "write hours of passages as FLAC, and an index")
    parser.add_argument("dir", metavar="OUT_DIR")
    parser.add_argument("--hours", type=float, required=True, metavar="H")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="the same seed: the same music")
    parser.add_argument("--workers", type=int, default=1, metavar="W", help="processes")
    parser.add_argument("--styles", nargs="+", metavar="STYLE", help="only these styles")
    parser.add_argument("--exclude", nargs="+", default=(), metavar="STYLE", help="all but these styles")
    parser.add_argument("--stems", action="store_true", help="also the stems, which add up to the mix")
    parser.add_argument("--midi", metavar="DIR", help="make the passages of these MIDI files instead of composing them")
    parser.add_argument("--shard", metavar="I/N", help="write only every N-th passage, from the I-th on: N machines "
                        "share one corpus, and the last one writes the index")  # fmt: skip
    parser.add_argument("--few", action="store_true", help="one to three players in each passage, as most loops have")
    parser = add_command(group, "merge", merge, "join the indexes of shards that were written on several disks")
    parser.add_argument("dir", metavar="DIR", help="all shards, copied into one folder")
    parser = add_command(group, "gallery", gallery, "one passage of each style, on a page to listen to")
    parser.add_argument("dir", metavar="OUT_DIR")
    parser.add_argument("--styles", nargs="+", metavar="STYLE", help="only these styles")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    parser = add_command(group, "material", material, "say which sounds are installed, and how to get the rest")
    add_json(parser)


def build(args: Namespace) -> None:
    from melformer.corpus import build
    from melformer.corpus.shards import Shard

    choice = {"styles": args.styles, "exclude": args.exclude, "stems": args.stems, "few": args.few, "midi": args.midi}
    choice["shard"] = Shard.parse(args.shard) if args.shard else None
    n_passages = build(args.dir, args.hours, args.seed, args.workers, **choice)
    print(f"{args.dir}: {n_passages} passages")


def merge(args: Namespace) -> None:
    from pathlib import Path

    from melformer.corpus.shards import merge_shards
    from melformer.errors import RequestError

    if not merge_shards(Path(args.dir)):
        raise RequestError(f"{args.dir} does not hold every index-I-of-N.jsonl of a corpus; copy all shards into it")
    print(f"{args.dir}: one index")


def gallery(args: Namespace) -> None:
    from melformer.corpus.gallery import gallery

    print(gallery(args.dir, args.styles, args.seed))


def material(args: Namespace) -> None:
    from dataclasses import asdict

    from melformer.corpus.sound_sources import survey

    kinds = survey()
    if args.json:
        print_json({"material": [asdict(kind) for kind in kinds]})
        return
    for kind in kinds:
        print(f"{kind.kind}: {kind.found or f'not found; {kind.install}'}")
        print(f"    {kind.source['name']}, {kind.source['licence']}")
