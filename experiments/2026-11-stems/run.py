"""The commands behind results.json; SET_B_20 holds every third clip of set (b), SET_D the songs of set (d)."""

import shlex
import subprocess
import sys

COMMANDS = (
    "melformer corpus build PASSAGES --hours 5 --seed 2001 --stems",
    "melformer train separator --data PASSAGES --steps 4400 -o runs/separator",
    "melformer train pointer --data PASSAGES --steps 1000 -o runs/pointer",
    "melformer evaluate SET_B_20 --parts continuation --takes 2 -o results.json "
    "--systems 'Melformer in stems' 'prompt looped' rule 'rule, half' 'rule, a quarter' 'the truth'",
    "python tools/separation_scores.py --engine 30 --songs SET_D -o separation.json",
)

if __name__ == "__main__":
    for command in COMMANDS:
        print(command, file=sys.stderr)
        subprocess.run(shlex.split(command), check=True)
