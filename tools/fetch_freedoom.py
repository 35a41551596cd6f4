#!/usr/bin/env python3
"""Fetch the music of Freedoom, which people wrote and gave away under the modified BSD licence, as MIDI files.

    python tools/fetch_freedoom.py -o midi                      # downloads Debian's packages freedoom and freedm
    python tools/fetch_freedoom.py -o midi freedoom_*.deb freedoom2.wad     # from files at hand

Every lump of a WAD that begins with `MThd` becomes OUT/WAD_LUMP.mid; files of equal bytes are written once. The
licence's notice goes beside them, as the licence asks, into OUT/NOTICE, and what a model card says of them into
OUT/source.json, which `melformer corpus build --midi OUT` reads.
"""

import argparse
import io
import json
import struct
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from melformer.corpus.midi.notices import FREEDOOM

PACKAGES = ("freedoom", "freedm")


def archive_members(deb: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of an `ar` archive, which every .deb is. Errors: ValueError where it is none."""
    if deb[:8] != b"!<arch>\n":
        raise ValueError("not a Debian package: it does not begin with !<arch>")
    start = 8
    while start + 60 <= len(deb):
        size = int(deb[start + 48 : start + 58])
        yield deb[start : start + 16].decode("ascii").strip().rstrip("/"), deb[start + 60 : start + 60 + size]
        start += 60 + size + size % 2


def package_wads(deb: bytes) -> Iterator[tuple[str, bytes]]:
    """Name (without ending) and contents of each WAD in a .deb. Errors: ValueError where it cannot be unpacked."""
    data = next((body for name, body in archive_members(deb) if name.startswith("data.tar")), None)
    if data is None:
        raise ValueError("a Debian package without data.tar")
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.name.endswith(".wad") else None
                if file is not None:
                    yield Path(member.name).stem, file.read()
    except tarfile.TarError as error:
        raise ValueError(f"its data.tar cannot be read ({error})") from error


def midi_lumps(wad: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every lump that is a MIDI file.

    A WAD is `IWAD` or `PWAD`, the count and the place of its directory (int32, little-endian), then one entry of 16
    bytes a lump: its place, its size and its name. Errors: ValueError for anything else.
    """
    if wad[:4] not in (b"IWAD", b"PWAD") or len(wad) < 12:
        raise ValueError("not a WAD: it begins with neither IWAD nor PWAD")
    count, directory = struct.unpack_from("<ii", wad, 4)
    if count < 0 or directory < 12 or directory + 16 * count > len(wad):
        raise ValueError(f"a WAD that ends before its directory of {count} lumps")
    for i in range(count):
        start, size, name = struct.unpack_from("<ii8s", wad, directory + 16 * i)
        if start >= 12 and size > 4 and wad[start : start + 4] == b"MThd":
            yield name.split(b"\0")[0].decode("ascii", "replace").lower(), wad[start : start + size]


def write_lumps(wads: Iterator[tuple[str, bytes]], out_dir: Path) -> int:
    """Write every MIDI lump once, and the notice; the number of files written."""
    seen: set[bytes] = set()
    for name, wad in wads:
        for lump, midi in midi_lumps(wad):
            if midi in seen:
                continue
            seen.add(midi)
            out_dir.mkdir(parents=True, exist_ok=True)
            (out_dir / f"{name}_{''.join(c if c.isalnum() else '_' for c in lump)}.mid").write_bytes(midi)
    if seen:
        (out_dir / "NOTICE").write_text(FREEDOOM.notice)
        (out_dir / "source.json").write_text(json.dumps({"name": FREEDOOM.name, "licence": FREEDOOM.licence}, indent=2))
    return len(seen)


def read_wads(paths: list[Path]) -> Iterator[tuple[str, bytes]]:
    """The WADs among packages and WADs given. Errors: ValueError that names the file."""
    for path in paths:
        data = path.read_bytes()
        try:
            yield from [(path.stem, data)] if path.suffix.lower() == ".wad" else package_wads(data)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, fetch, write; the exit status."""
    parser = argparse.ArgumentParser(description="Freedoom's music as MIDI files, with the licence's notice.")
    parser.add_argument("files", nargs="*", type=Path, help=".deb or .wad files (else Debian's packages, by apt-get)")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            if not args.files:
                subprocess.run(["apt-get", "download", *PACKAGES], cwd=scratch, check=True)
            count = write_lumps(read_wads(args.files or sorted(Path(scratch).glob("*.deb"))), args.out)
        except (ValueError, OSError, subprocess.CalledProcessError) as error:
            print(f"fetch_freedoom: {error}", file=sys.stderr)
            return 2
    if not count:
        print("fetch_freedoom: no MIDI in these files", file=sys.stderr)
        return 2
    print(f"{args.out}: {count} MIDI files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
