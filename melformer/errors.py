"""Errors a user can cause: each message says what, the value, the limit and what to do."""


class MelformerError(ValueError):
    """Base of every error that a user's input can cause; its message is written for people."""


class AudioError(MelformerError):
    """An audio file or signal cannot be used."""


class TempoError(MelformerError):
    """A tempo or a beat grid is impossible or cannot be found."""


class MidiError(MelformerError):
    """A MIDI file cannot be used as material."""


class TiafError(MelformerError):
    """A `.tiaf` file is malformed or cannot hold what was asked."""


class ConfigError(MelformerError):
    """A configuration has an unknown key or a value out of range."""


class CheckpointError(MelformerError):
    """A checkpoint is missing, damaged, or does not fit its configuration."""


class FormatError(MelformerError):
    """A checkpoint, a training run or a saved stream is of an older or a newer format than this version reads."""


class RequestError(MelformerError):
    """A generation, training or evaluation request is out of range."""
