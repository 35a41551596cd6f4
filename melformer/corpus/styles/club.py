"""Styles of the club: four on the floor and its neighbours."""

from melformer.corpus.styles.style import Style

_MINOR_LOOPS = ("i bVI bIII bVII", "i bVII bVI bVII", "i iv bVI v", "i bVI iv v", "i i bVI bVII", "i v bVI iv")

HOUSE = Style(
    "house", (118, 128), ("909", "909", "808"),
    {
        "kick": ("X...X...X...X...", "X...X...X...X..o", "X...X...X..oX..."),
        "clap": ("....X.......X...", "....X.......X..g", "....X..g....X..."),
        "hat": ("..x...x...x...x.", "o.x.o.x.o.x.o.x.", "goxogoxogoxogoxo", "x.xgx.xgx.xgx.xg"),
        "open": ("..x...x...x...x.", "", "..............x.", "......x.......x."),
        "shaker": ("", "goxogoxogoxogoxo", "xgogxgogxgogxgog"),
        "conga": ("", "...x..x....x..x.", "..o..x....o..xo."),
        "rim": ("", "...x..x...x.....", "x..x..x...x.x..."),
        "cowbell": ("", "", "..x..x....x..x.."),
    },
    ("..R-..R-..R-..R-", "R-.R..R-..8-..R-", "R--.R-..R-.8.-5-", "..R-..R-..8-.R5-", "R..R..R.R..R..8."),
    ("saw bass", "sub bass", "fm bass", "house organ"), ("minor", "dorian", "minor"),
    ("im7 iv7", "im9 bVImaj7", "im7 bVII7 bVImaj7 v7", "ii9 v7 im9 bVImaj9", "im7 im7 iv9 iv9", "bVImaj7 v7 im9 im9", *_MINOR_LOOPS),
    ("..x-..x-..x-..x-", "x-.x-.x-...x-.x-", "...x-..x-....x-.", "x--.x--.x-..x--.", "..x.....x..x...."),
    ("house organ", "epiano", "saw stab", "organ", "piano"), ("soft lead", "saw lead", "synth pluck", "vibes"),
    ("synth pluck", "marimba", "fm bell"), ("warm pad", "strings"),
    {"bass": 0.92, "comp": 0.8, "pad": 0.45, "arp": 0.25, "lead": 0.4, "fx": 0.7, "perc": 0.7},
    ({"clap": "....X.......X.xx"}, {"kick": "X...X...X......."}, {"clap": "....X...x.x.xxxx"}, {"tom": "..........x.x.xx"}),
    swing=(0.0, 0.45), bars_per_chord=(1, 1, 2), duck=(0.25, 0.75), human_ms=0.0,
)
TECHNO = Style(
    "techno", (126, 145), ("909", "hard"),
    {
        "kick": ("X...X...X...X...", "X...X...X...X...", "X...X..gX...X.g."),
        "clap": ("", "....X.......X...", "............X..."),
        "hat": ("..x...x...x...x.", "xgxgxgxgxgxgxgxg", "..x.g.x...x.g.xg", "oooooooooooooooo"),
        "open": ("", "..x...x...x...x.", "..........x....."),
        "ride": ("", "", "x.x.x.x.x.x.x.x.", "..x...x...x...x."),
        "rim": ("", "..x..x..x..x..x.", "...x.....x...x..", "x..x..x..x..x..x"),
        "low tom": ("", "...x..x...x..x..", "..x..x..x..x..x."),
        "noise": ("", "......x.......o.", "..........x....."),
    },
    ("..R-..R-..R-..R-", ".RRR.RRR.RRR.RRR", "..RR..RR..RR..RR", "R.R8.R.R8.R.R8.R", "R.rR.r8.R.rR.5r."),
    ("acid", "saw bass", "reese", "fm bass"), ("phrygian", "minor", "minor"),
    ("i", "i", "i bII", "i bVI", "i i i bVII", "im7"),
    ("...x.....x......", "x..x..x..x..x...", "..x.......x..x..", "......x-........"),
    ("saw stab", "fm bell", "organ"), ("acid", "square lead", "fm bell"), ("acid", "synth pluck", "fm bell"), ("hollow pad", "warm pad"),
    {"bass": 0.85, "comp": 0.55, "pad": 0.35, "arp": 0.55, "lead": 0.12, "fx": 0.7, "perc": 0.85},
    ({"kick": "X...X...X......."}, {"snare": "........o.o.x.xX"}, {"noise": "X...............", "kick": "X...X...X...X.XX"}),
    bars_per_chord=(2, 4), duck=(0.3, 0.85), reverb=(0.08, 0.35), room_s=(1.0, 3.0), drive=(0.05, 0.35), note_beats=(0.25, 0.25, 0.5),
)
TRANCE = Style(
    "trance", (132, 142), ("909",),
    {
        "kick": ("X...X...X...X...",),
        "clap": ("....X.......X...", ""),
        "open": ("..x...x...x...x.",),
        "hat": ("xgogxgogxgogxgog", "oooooooooooooooo", ""),
        "shaker": ("", "goxogoxogoxogoxo"),
    },
    (".RRR.RRR.RRR.RRR", "..RR..RR..RR..RR", "..R...R...R...R.", ".RR8.RR8.RR8.RR8"),
    ("saw bass", "fm bass", "reese"), ("minor",),
    (*_MINOR_LOOPS, "bVI bVII i i", "i bIII bVII iv", "bVI iv bVII i"),
    ("x---------------", "x..x..x..x..x.x.", "..x...x...x...x.", "x-.x-.x-.x-.x-x-"),
    ("supersaw", "supersaw", "saw stab"), ("supersaw", "saw lead", "synth pluck"), ("synth pluck", "saw stab", "square lead"), ("strings", "warm pad"),
    {"bass": 0.95, "comp": 0.75, "pad": 0.65, "arp": 0.75, "lead": 0.6, "fx": 0.7, "perc": 0.4},
    ({"snare": "........x.x.xxxx"}, {"snare": "x...x...x.x.xxxx"}, {"kick": "X...X..........."}),
    bars_per_chord=(1, 2), duck=(0.5, 0.95), reverb=(0.12, 0.4), room_s=(1.5, 3.5), note_beats=(0.5, 0.25, 0.75, 1.0),
)
DISCO = Style(
    "disco", (108, 126), ("acoustic", "909"),
    {
        "kick": ("X...X...X...X...",),
        "snare": ("....X.......X...", "....X..g....X.g.", "....X.......X..o"),
        "hat": ("x.g.x.g.x.g.x.g.", "xgogxgogxgogxgog", "x.x.x.x.x.x.x.x."),
        "open": ("..x...x...x...x.", "..x...x...x...x.", ""),
        "conga": ("", "..xo..xo..xo..xo", "x.o.xxo.x.o.xxo."),
        "cowbell": ("", "", "x...x...x...x..."),
        "clap": ("", "....x.......x..."),
    },
    ("R.8.R.8.R.8.R.8.", "R..R8..5R..R8.a.", "R-8.R-8.5-8.a-8.", "R.RR8.R.5.5R8.a."),
    ("finger bass", "slap bass", "saw bass"), ("dorian", "major", "minor"),
    ("im7 iv9", "im7 iv7 bVII7 bIIImaj7", "Imaj7 vi7 ii7 V7", "vi7 ii7 V7 Imaj7", "im9 bVImaj7 bVII7 im9", "IVmaj7 iii7 ii7 V7sus4"),
    ("..x...x...x...x.", "x.xx.xx.x.xx.xx.", "x-....x-..x-....", "..xx..xx..xx..xx"),
    ("guitar", "epiano", "strings", "piano"), ("strings", "brass", "saw lead", "vibes"), ("guitar", "synth pluck"), ("strings",),
    {"bass": 0.97, "comp": 0.9, "pad": 0.6, "arp": 0.15, "lead": 0.45, "fx": 0.7, "perc": 0.6},
    ({"snare": "....X...x.xxxxxx"}, {"tom": "........x.x.....", "low tom": "............x.xx"}, {"open": "X...............", "kick": "X..............."}),
    human_ms=4.0, swing=(0.0, 0.15), duck=(0.0, 0.3), reverb=(0.08, 0.25), rms_db=(-19, -13),
)
GARAGE = Style(
    "garage", (128, 136), ("909", "808"),
    {
        "kick": ("X.........x.....", "X.....x...x.....", "X.........x..x..", "X..x......x....."),
        "clap": ("....X.......X...", "....X..g....X..g"),
        "hat": ("..x...x...x...x.", "x.xgx.xgx.xgx.xx", "gxx.gxx.gxxggxx."),
        "open": ("", "..........x.....", "..x.......x....."),
        "rim": ("", "...x..g..x....x.", ".......x.x....x."),
        "shaker": ("", "xgoxxgoxxgoxxgox"),
    },
    ("R--...R-..8-....", "R-.R....R-...8-.", "R-----..8-5-R-..", "..R-..R-...R-.8-"),
    ("sub bass", "reese", "saw bass", "fm bass"), ("minor", "dorian"),
    ("im9 iv9", "im7 bVImaj7 iv7 v7", "iv9 v7 im9 im9", "bVImaj9 v7 im9 bIIImaj7", "ii7 v7 im9 im9"),
    ("..x..x....x..x..", "...x-..x-....x-.", "x-.x-.....x-.x-.", "..x-.......x-..."),
    ("epiano", "house organ", "organ", "saw stab"), ("soft lead", "synth pluck", "vibes", "square lead"), ("synth pluck",), ("warm pad", "hollow pad"),
    {"bass": 0.97, "comp": 0.85, "pad": 0.4, "arp": 0.15, "lead": 0.4, "fx": 0.7, "perc": 0.6},
    ({"clap": "....X..x.x..X.xx"}, {"kick": "X...............", "rim": "..x.x.xx..x.x.xx"}),
    swing=(0.4, 0.85), duck=(0.1, 0.5), bars_per_chord=(1, 2, 0.5),
)
STYLES = (HOUSE, TECHNO, TRANCE, DISCO, GARAGE)
