"""tools/fetch_freedoom.py: MIDI out of WADs and Debian packages, each file once, and bad files named."""

import importlib.util
import io
import json
import struct
import tarfile
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[1] / "tools" / "fetch_freedoom.py"
SPEC = importlib.util.spec_from_file_location("fetch_freedoom", PATH)
assert SPEC is not None and SPEC.loader is not None
tool = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tool)

SONG, OTHER = b"MThd" + bytes(10), b"MThd" + bytes(range(20))


def wad(**lumps: bytes) -> bytes:
    body, entries = b"", b""
    for name, lump in lumps.items():
        entries += struct.pack("<ii8s", 12 + len(body), len(lump), name.encode())
        body += lump
    return struct.pack("<4sii", b"IWAD", len(lumps), 12 + len(body)) + body + entries


def deb(*wads: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as tar:
        for name, data in wads:
            member = tarfile.TarInfo(f"./usr/share/games/doom/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    out = b"!<arch>\n"
    for name, data in (("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", packed.getvalue())):
        out += f"{name:16}{0:<12}{0:<6}{0:<6}{'100644':8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return out


def test_the_midi_of_packages_and_wads_is_written_once_with_its_notice(tmp_path):
    (tmp_path / "a.deb").write_bytes(deb(("doom.wad", wad(D_E1M1=SONG, MAP01=b"no music", **{"D_[": OTHER}))))
    (tmp_path / "b.WAD").write_bytes(wad(D_OTHER=SONG, EMPTY=b""))
    assert tool.main([str(tmp_path / "a.deb"), str(tmp_path / "b.WAD"), "-o", str(tmp_path / "midi")]) == 0
    files = {p.name: p.read_bytes() for p in (tmp_path / "midi").iterdir()}
    notice = files.pop("NOTICE").decode()
    assert json.loads(files.pop("source.json"))["licence"] == "BSD-3-Clause"
    assert files == {"doom_d_e1m1.mid": SONG, "doom_d__.mid": OTHER}
    assert "Redistribution and use in source and binary forms" in notice and "Freedoom project" in notice


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("x.deb", b"<html>not found</html>", "!<arch>"),
        ("x.deb", deb(("doom.wad", b"?" * 40)), "neither IWAD nor PWAD"),
        ("x.deb", b"!<arch>\n" + b"debian-binary   " + b" " * 32 + b"4         `\n2.0\n", "without data.tar"),
        ("x.deb", deb(("doom.wad", wad(D_A=SONG))).replace(b"\xfd7zXZ", b"?????"), "data.tar cannot be read"),
        ("x.wad", wad(D_A=SONG)[:-10], "ends before its directory"),
        ("x.wad", struct.pack("<4sii", b"PWAD", -5, 12), "ends before its directory"),
        ("x.wad", b"", "neither IWAD nor PWAD"),
        ("x.wad", wad(MAP01=b"no music"), "no MIDI"),
    ],
)
def test_what_is_no_package_is_named_and_nothing_is_written(name, data, said, tmp_path, capsys):
    (tmp_path / name).write_bytes(data)
    assert tool.main([str(tmp_path / name), "-o", str(tmp_path / "midi")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "midi").exists()


def test_a_missing_file_is_named(tmp_path, capsys):
    assert tool.main([str(tmp_path / "gone.deb"), "-o", str(tmp_path / "midi")]) == 2
    assert "gone.deb" in capsys.readouterr().err
