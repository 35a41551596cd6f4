"""Readers of sound: audio files with their tags and tempo, `.tiaf` files, tempi in file names, evaluation folders."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from fuzz_damage import Reader, damage, damage_value, like
from hypothesis import strategies as st

from melformer.audio.grid import fit_to_grid
from melformer.audio.io import read_waveform, write_waveform
from melformer.audio.metadata import read_bpm_tag
from melformer.audio.tempo import find_tempo
from melformer.audio.tempo.name import bpm_in_name
from melformer.audio.tiaf import Tiaf, read_tiaf, write_tiaf
from melformer.audio.waveform import Waveform

RATE = 22_050
FORMATS = {
    "pcm16.wav": ("WAV", "PCM_16"), "float.wav": ("WAV", "FLOAT"), "ulaw.wav": ("WAV", "ULAW"),
    "x.rf64": ("RF64", "PCM_24"), "wavex.wav": ("WAVEX", "PCM_32"), "a.flac": ("FLAC", "PCM_16"),
    "a.ogg": ("OGG", "VORBIS"), "a.opus": ("OGG", "OPUS"), "a.mp3": ("MP3", "MPEG_LAYER_III"),
    "a.aiff": ("AIFF", "PCM_16"), "float.aiff": ("AIFF", "FLOAT"),
}  # fmt: skip


def clicks(seconds: float = 1.0, rate: int = RATE) -> Waveform:
    """A click every quarter of a second, stereo."""
    time_s = np.arange(round(seconds * rate)) / rate
    sound = 0.5 * np.sin(2 * np.pi * 300 * time_s) * np.exp(-30 * (time_s % 0.25))
    return Waveform(np.stack([sound, -sound], axis=1), rate)


def good_files(folder: Path) -> dict[str, bytes]:
    """A good file of every format that is let in, as bytes, by name."""
    for name, (kind, subtype) in FORMATS.items():
        rate = 24_000 if subtype == "OPUS" else RATE  # Opus knows few rates
        soundfile.write(folder / name, clicks().samples, rate, subtype, format=kind)
    write_waveform(folder / "tagged.wav", clicks(), bpm=120)
    write_waveform(folder / "tagged.flac", clicks(), bpm=120)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def use_audio(path: Path) -> None:
    """All that the package does with a stranger's file before a model sees it."""
    tag = read_bpm_tag(path)
    assert tag is None or 40 <= tag <= 240
    waveform = read_waveform(path, max_s=20)
    tempo = find_tempo(waveform.slice(0, min(waveform.n_samples, 2 * waveform.sample_rate)), path=path)
    assert 40 <= tempo.bpm <= 240 and 0 <= tempo.confidence <= 1 and 0 <= tempo.start_confidence <= 1
    assert fit_to_grid(waveform, tempo.bpm, tempo.start_s).waveform.n_samples > 0


def _prepare_audio(folder: Path) -> tuple[Path, dict[str, bytes]]:
    return folder / "case", good_files(folder)


def _hostile_audio(prepared: Any, rng: np.random.Generator) -> tuple[str, bytes]:
    files = prepared[1]
    name = list(files)[int(rng.integers(len(files)))]
    return name, damage(files[name], rng)


def _use_audio(prepared: Any, case: tuple[str, bytes]) -> None:
    path = prepared[0].with_suffix(Path(case[0]).suffix)
    path.write_bytes(case[1])
    use_audio(path)


def _prepare_tiaf(folder: Path) -> tuple[Path, bytes, dict[str, Any]]:
    path = folder / "a.tiaf"
    write_tiaf(path, Tiaf.from_waveform(Waveform(clicks(0.5).samples[:, :1], RATE), 120))
    with soundfile.SoundFile(path) as file:
        header = json.loads(file.comment)
    return folder / "case.tiaf", path.read_bytes(), header


def _hostile_tiaf(prepared: Any, rng: np.random.Generator) -> Any:
    return damage(prepared[1], rng) if rng.random() < 0.6 else damage_value(prepared[2], rng)


def _use_tiaf(prepared: Any, case: Any) -> None:
    path, good, _header = prepared
    if not isinstance(case, bytes):
        try:
            text = json.dumps(case)
        except (ValueError, RecursionError):
            return
        case = with_comment(good, text)
    path.write_bytes(case)
    tiaf = read_tiaf(path)
    if case[-1] % 8 == 0:  # giving the sound back takes a hundred times as long as reading
        tiaf.to_waveform()


def with_comment(flac: bytes, text: str) -> bytes:
    """A FLAC whose Vorbis comment block holds one comment, whatever it says."""
    position, last, out = 4, False, bytearray(flac[:4])
    while not last:
        kind, length = flac[position], int.from_bytes(flac[position + 1 : position + 4], "big")
        last, block = bool(kind & 0x80), flac[position + 4 : position + 4 + length]
        if kind & 0x7F == 4:
            entry = b"COMMENT=" + text.encode("utf-8", "surrogatepass")
            block = (4).to_bytes(4, "little") + b"fuzz" + (1).to_bytes(4, "little") + len(entry).to_bytes(4, "little")
            block += entry
        out += bytes([kind]) + len(block).to_bytes(3, "big") + block
        position += 4 + length
    return bytes(out + flac[position:])


def _tiaf_headers(prepared: Any) -> st.SearchStrategy:
    header = prepared[2]
    edges = st.binary(max_size=64).map(lambda data: base64.b64encode(data).decode()) | st.text(max_size=40)
    numbers = st.integers() | st.floats() | st.sampled_from([header["n_samples"], 1, 2, 120, 2**40])
    return like({**header}) | st.fixed_dictionaries(
        {**{key: st.just(value) for key, value in header.items()},
         **{key: st.just(header[key]) | numbers for key in ("bpm", "n_samples", "scale", "sample_rate", "n_beats")},
         "edges": st.just(header["edges"]) | edges}
    )  # fmt: skip


def _hostile_name(prepared: Any, rng: np.random.Generator) -> str:
    parts = ["120", "bpm", "BPM", "_", "-", ".", " ", "0", "1e9", "٣٤٥", "½", "nan", "🥁", "\0", "loop", "00000000120",
             "\u202e", "/", "240.0000001", "39", "999999999999999999999", "bpm120", "in"]  # fmt: skip
    return "".join(parts[int(k)] for k in rng.integers(0, len(parts), int(rng.integers(1, 12))))


def _use_name(prepared: Any, name: str) -> None:
    found = bpm_in_name(name)
    assert found is None or all(40 <= bpm <= 240 for bpm in found.bpms)


def _prepare_evaluate(folder: Path) -> Any:
    from melformer.evaluate.protocol import cut
    from melformer.evaluate.sets import folder_clips

    (folder / "loops").mkdir()
    (folder / "candidate").mkdir()
    loop = clicks(2.0, 8_000)
    write_waveform(folder / "loops" / "a_240bpm.wav", loop)
    files = {"a_240bpm.wav": (folder / "loops" / "a_240bpm.wav").read_bytes()}
    write_waveform(folder / "a_240bpm.flac", loop)
    files["a_240bpm.flac"] = (folder / "a_240bpm.flac").read_bytes()
    clips, _ = folder_clips(folder / "loops")
    return folder, files, cut(clips[0])


def _hostile_evaluate(prepared: Any, rng: np.random.Generator) -> tuple[bool, str, bytes]:
    name = list(prepared[1])[int(rng.integers(2))]
    return bool(rng.random() < 0.5), name, damage(prepared[1][name], rng)


def _use_evaluate(prepared: Any, case: tuple[bool, str, bytes]) -> None:
    """A folder of loops, or another system's continuations, one of which is damaged."""
    from melformer.evaluate.protocol import candidate_system, cut, score
    from melformer.evaluate.sets import folder_clips

    folder, _, good = prepared
    as_candidate, name, data = case
    place = folder / ("candidate" if as_candidate else "damaged")
    place.mkdir(exist_ok=True)
    for old in place.iterdir():
        old.unlink()
    (place / name).write_bytes(data)
    if not as_candidate:
        cut(folder_clips(place)[0][0])
        return
    answer = candidate_system(place, [good])[0](good)
    if answer is not None:
        score(good, answer)


READERS = [
    Reader("audio", 0.30, _prepare_audio, _hostile_audio, _use_audio),
    Reader("tiaf", 0.12, _prepare_tiaf, _hostile_tiaf, _use_tiaf, _tiaf_headers),
    Reader("names", 0.08, lambda folder: None, _hostile_name, _use_name, lambda _: st.text(max_size=60)),
    Reader("evaluate", 0.01, _prepare_evaluate, _hostile_evaluate, _use_evaluate, cpu_s=30),
]
