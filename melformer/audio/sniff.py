"""Which audio is let in: decided from a file's first bytes, before any decoder sees it."""

import os

from melformer.errors import AudioError

FORMATS = {"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "MPEG", "AIFF"}
SUBTYPES = {
    "PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW",
    "VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III",
}  # fmt: skip


def check_kind(descriptor: int, name: str) -> None:
    """Refuse what is not wav, flac, ogg, mp3 or aiff by its first bytes. Errors: AudioError."""
    head = os.pread(descriptor, 16, 0)
    if head[4:8] == b"ftyp":
        raise AudioError(
            f"{name} is an m4a (AAC) or mp4 file, which cannot be read here: "
            f"export it as WAV or FLAC, or convert it with `ffmpeg -i {name} loop.wav`"
        )
    riff = head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE"
    aiff = head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC")
    mp3 = head[:3] == b"ID3" or (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE0 == 0xE0)
    if not (riff or aiff or mp3 or head[:4] in (b"fLaC", b"OggS")):
        raise AudioError(f"{name} is not audio that is read here: give wav, flac, ogg, opus, mp3 or aiff")
