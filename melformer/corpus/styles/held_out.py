"""Styles that no corpus holds unless it is asked for them by name, so that no shipped weight has heard them.

A fine-tune is measured on them: the composition engine knows them, the checkpoint does not.
"""

from melformer.corpus.styles.style import Style

BALKAN = Style(
    "balkan brass",
    (108, 152),
    ("acoustic", "tabla"),
    {
        "surdo": ("X..x..x.X...x...", "X..X..x.X..X..x.", "X.....x.X.....x."),
        "rim": ("x.xxx.xxx.xxx.xx", "..xx..xx..xx..xx", "xgxxgxxgxgxxgxxg"),
        "snare": ("..x..gxx..x..gxx", "..rx..rx..rx..rx", ""),
        "low conga": ("", "X......xX.x....x", ""),
        "conga": ("", "..xgx.xg..xgx.xx", "...x.xx....x.xxx"),
        "crash": ("", "", "x..............."),
    },
    ("R...5...R...5...", "R..R..5.R...5...", "R..8..R.5..8..a.", "L...5...R...5.a."),
    ("trombone", "horns"),
    ("phrygian dominant", "harmonic minor"),
    ("I", "I bII", "I iv", "I bII I bvii", "i V7 i V7", "i iv V7 i", "I bvii bII I", "iv I bII I"),
    ("..x...x...x...x.", "..xx..xx..xx..xx", "..x.x.x...x.x.xx", "..x..x..x..x..x."),
    ("horns", "brass section", "accordion"),
    ("trumpet", "clarinet", "trumpet", "saxophone"),
    ("clarinet", "accordion"),
    ("horns", "accordion"),
    {"bass": 1.0, "comp": 0.98, "pad": 0.1, "arp": 0.1, "lead": 0.95, "perc": 1.0, "fx": 0.0},
    (
        {"snare": "rrrrrrrrxxxxxxxx"},
        {"surdo": "X..X..X..X..X.X.", "rim": "x..x..x..x..x.x."},
        {"snare": "x.xxrxxxx.xxtxtx"},
    ),
    human_ms=7.0,
    bars_per_chord=(1, 2, 2),
    reverb=(0.04, 0.2),
    room_s=(0.4, 1.3),
    rms_db=(-19, -12),
    note_beats=(0.25, 0.25, 0.5, 0.25, 0.75),
)
STYLES = (BALKAN,)
