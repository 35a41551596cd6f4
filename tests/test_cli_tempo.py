"""`melformer tempo`: a line or an object for each file, and status 2 where one has no tempo."""

import json
import re

import numpy as np
from test_tempo import RATE, drums
from test_tempo_metre import WALTZ, band

from melformer.audio.io import write_waveform
from melformer.audio.waveform import Waveform
from melformer.cli import main


def test_tempi_are_printed_and_a_file_without_one_is_named(tmp_path, capsys):
    good, silent = tmp_path / "a_120bpm.wav", tmp_path / "silence.wav"
    write_waveform(good, drums(120, 8))
    write_waveform(silent, Waveform(np.zeros(RATE, np.float32), RATE))
    assert main(["tempo", str(good), str(silent), "--json"]) == 2
    printed = capsys.readouterr()
    first, second = json.loads(printed.out)["loops"]
    assert (first["bpm"], first["n_beats"], first["source"], first["is_one_shot"]) == (120, 8, "file name", False)
    assert "can't find a tempo" in second["error"] and "1 of 2 files" in printed.err
    assert main(["tempo", str(good)]) == 0
    assert "120 BPM (file name" in capsys.readouterr().out


def test_metre_and_downbeat_are_printed_with_their_confidence(tmp_path, capsys):
    waltz = tmp_path / "waltz.wav"
    write_waveform(waltz, band(120, WALTZ))
    assert main(["tempo", str(waltz), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["loops"][0]
    assert (found["metre"], found["beats_per_bar"], found["downbeat"]) == ("3/4", 3, 0)
    assert 0.8 <= found["metre_confidence"] <= 1 and 0.8 <= found["downbeat_confidence"] <= 1
    assert main(["tempo", str(waltz)]) == 0
    assert re.search(r"24 beats, 3/4 \(\d+%\), bar begins with beat 1 \(\d+%\)$", capsys.readouterr().out.strip())
    assert main(["tempo", str(waltz), "--beats-per-bar", "4"]) == 0
    assert ", 4/4 (100%), " in capsys.readouterr().out
