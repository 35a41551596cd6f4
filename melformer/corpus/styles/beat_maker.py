"""Styles of the beat maker: hip-hop, bass music, breakbeats."""

from melformer.corpus.styles.style import Style

TRAP = Style(
    "trap", (130, 160), ("808",),
    {
        "kick": ("X.........x.....", "X.....x...x..x..", "X..x......x.....", "X.......x.x....x"),
        "snare": ("........X.......", "........X......."),
        "clap": ("........X.......", ""),
        "hat": ("x.x.x.x.x.x.x.x.", "x.x.x.xtx.x.x.rr", "xxx.xxx.xxxrx.x.", "x.xtx.x.x.rrx.xt", "xoxoxoxoxoxtxoxo"),
        "open": ("", "......x.........", "..............x."),
        "rim": ("", "...x......x..x..", "......x......x.."),
        "snap": ("", "", "........x......."),
    },
    ("R-------..R---..", "R-----R-..R-..8-", "R--R----..R-----", "R-------R-b-R---"),
    ("808",), ("minor", "harmonic minor", "phrygian"),
    ("i", "i bVI", "i bVI iv v", "i bII", "i iv", "i i bVI V7"),
    ("x---------------", "x-------x-------", "x.....x...x.....", "x..x..x..x..x.x."),
    ("piano", "bell", "hollow pad", "strings", "fm bell"), ("bell", "soft lead", "fm bell", "kalimba", "square lead"), ("bell", "kalimba", "piano", "synth pluck"), ("hollow pad", "strings", "warm pad"),
    {"bass": 0.97, "comp": 0.55, "pad": 0.5, "arp": 0.4, "lead": 0.65, "fx": 0.4, "perc": 0.5},
    ({"hat": "x.x.x.x.trtrtttt"}, {"snare": "........X...x.xx"}, {"kick": "X..............."}),
    bars_per_chord=(1, 2), drive=(0.05, 0.3), reverb=(0.1, 0.3), room_s=(1.0, 2.5), note_beats=(0.5, 0.5, 1.0, 0.25),
)
BOOM_BAP = Style(
    "boom bap", (82, 98), ("acoustic",),
    {
        "kick": ("X......x..x.....", "X.x.....x.x.....", "X......x.x......", "X..x...x..x....."),
        "snare": ("....X.......X...", "....X..g.g..X...", "....X.......X..g"),
        "hat": ("x.x.x.x.x.x.x.x.", "x.o.x.o.x.ogx.o.", "xgx.xgx.xgx.xgxx"),
        "open": ("", "..............x.", ""),
        "shaker": ("", "", "..x...x...x...x."),
    },
    ("R-..R-.8..R-....", "R--...RR..5-..a-", "R-.3-5-8.-5-3-..", "R-----..8-..5-a-"),
    ("upright", "finger bass", "sub bass"), ("dorian", "minor", "blues"),
    ("im7 iv7", "im9", "ii7 V7 Imaj7 vi7", "im7 bVImaj7", "iv7 im7", "im9 bVII7 bVImaj7 V7b9"),
    ("x---..x-....x---", "x-------........", "..x-......x-....", "x..x........x-.."),
    ("epiano", "piano", "organ", "guitar"), ("vibes", "soft lead", "brass", "nylon"), ("epiano", "vibes"), ("strings", "warm pad"),
    {"bass": 0.95, "comp": 0.85, "pad": 0.2, "arp": 0.1, "lead": 0.45, "fx": 0.4, "perc": 0.25},
    ({"kick": "X......x........"}, {"snare": "....X..x..x.X.xx"}, {"hat": "x.x.x.x.x.x....."}),
    swing=(0.35, 0.8), human_ms=5.0, bars_per_chord=(1, 2, 0.5), lofi=0.35, drive=(0.05, 0.3), reverb=(0.03, 0.15), room_s=(0.3, 0.9),
)
LOFI = Style(
    "lo-fi", (68, 88), ("acoustic", "808"),
    {
        "kick": ("X.....x...x.....", "X..x......x.....", "X.........x..x.."),
        "snare": ("....x.......x...", "....x.......x..g"),
        "hat": ("x.x.x.x.x.x.x.x.", "xgo.xgo.xgo.xgo.", "..x...x...x...x."),
        "rim": ("", "....x.......x...", ""),
        "shaker": ("", "goxogoxogoxogoxo"),
        "snap": ("", "", "....x.......x..."),
    },
    ("R-----..R-..5-..", "R---....8---5---", "R--R--..5---a---", "R-------........"),
    ("upright", "sub bass", "finger bass"), ("major", "dorian", "minor"),
    ("ii9 V13 Imaj9 vi9", "Imaj9 vi9 ii9 V13", "IVmaj7 iii7 vi9 vi9", "im9 iv9", "Imaj7 iii7 vi7 IVmaj7", "IVmaj9 V13 iii7 vi9", "im9 bVImaj9 bIIImaj9 v7"),
    ("x-------x-----x-", "x---x-..x---..x-", "x-----x---x-----", "..x---..x---x---"),
    ("epiano", "piano", "nylon", "guitar"), ("vibes", "soft lead", "nylon", "kalimba"), ("epiano", "nylon", "kalimba"), ("warm pad",),
    {"bass": 0.9, "comp": 0.97, "pad": 0.35, "arp": 0.25, "lead": 0.55, "fx": 0.4, "perc": 0.4},
    ({"snare": "....x.......x.go"}, {"kick": "X...............", "hat": "x.x.x..........."}),
    swing=(0.4, 0.9), human_ms=8.0, bars_per_chord=(1, 1, 0.5), lofi=0.8, rms_db=(-22, -15), note_beats=(0.5, 1.0, 0.5, 1.5),
)
DRUM_AND_BASS = Style(
    "drum and bass", (166, 180), ("acoustic", "909", "hard"),
    {
        "kick": ("X.........x.....", "X.x.......x.....", "X..x......x.....", "X.........xx...."),
        "snare": ("....X.......X...", "....X..g.g..X...", "....X..g.g..X..g", "....X..gg...X.g."),
        "hat": ("x.x.x.x.x.x.x.x.", "xgxgxgxgxgxgxgxg", "x.xgx.x.x.xgx.xg"),
        "ride": ("", "", "x.x.x.x.x.x.x.x."),
        "open": ("", "..............x.", ""),
        "shaker": ("", "goxogoxogoxogoxo"),
    },
    ("R---------8-----", "R-----..R---5---", "R--.R-.8..R-.5-.", "R---R-..b---R---", "R-------L-------"),
    ("reese", "sub bass", "wobble", "fm bass"), ("minor", "phrygian", "dorian"),
    ("i bVI", "im9 bVImaj7", "i bVII bVI v", "im7 iv7", "i i bVI bVII", "i"),
    ("x---------------", "x-....x-....x-..", "..x...x...x.....", "x-------x-------"),
    ("warm pad", "epiano", "saw stab", "supersaw"), ("soft lead", "saw lead", "vibes", "fm bell"), ("synth pluck", "fm bell"), ("warm pad", "strings", "hollow pad"),
    {"bass": 0.97, "comp": 0.5, "pad": 0.7, "arp": 0.3, "lead": 0.35, "fx": 0.4, "perc": 0.5},
    ({"snare": "....X..x..x.xxxx"}, {"snare": "....X..gxgx.X.xx", "kick": "X..............."}, {"kick": "X..............."}),
    bars_per_chord=(2, 2, 1, 4), human_ms=1.5, drive=(0.05, 0.3), reverb=(0.05, 0.3), room_s=(0.6, 2.0), rms_db=(-16, -10),
)
BREAKBEAT = Style(
    "breakbeat", (110, 140), ("acoustic", "909"),
    {
        "kick": ("X.x.......xx....", "X.....x...x.....", "X.x....x..x.....", "X..x..x...x..x.."),
        "snare": ("....X..g.g..X..g", "....X..g....X.g.", "....X..g.g.gX...", "....X.gg....X..x"),
        "hat": ("x.x.x.x.x.x.x.x.", "xgx.xgx.xgx.xgx.", "..x...x...x...x."),
        "open": ("", "..........x.....", "......x........."),
        "ride": ("", "", "x.x.x.x.x.x.x.x."),
        "conga": ("", "", "..x..x..x..x.x.."),
    },
    ("R-.R..R-..8-.5..", "R--R--R-..R-R-..", "R..R..8..R..5.a.", "R-8.R-5.R-8.b-.."),
    ("saw bass", "acid", "fm bass", "reese"), ("minor", "dorian", "blues", "mixolydian"),
    ("i bVII", "im7", "i bIII iv i", "i7 iv7", "im7 iv7", "i bVI bVII i"),
    ("..x...x...x.....", "x..x..x...x..x..", "x-..........x-..", "...x...x...x..x."),
    ("saw stab", "organ", "piano", "brass"), ("square lead", "saw lead", "brass"), ("synth pluck", "acid"), ("warm pad", "strings"),
    {"bass": 0.92, "comp": 0.65, "pad": 0.35, "arp": 0.3, "lead": 0.35, "fx": 0.4, "perc": 0.45},
    ({"snare": "....X..xX.xxX.xx"}, {"snare": "x.xxx.xxxxxxxxxx"}, {"tom": "........xx......", "low tom": "..........xxx.xx"}),
    swing=(0.0, 0.35), human_ms=3.0, drive=(0.05, 0.35), metres={"4/4": 0.9, "7/8": 0.1},
)
DUBSTEP = Style(
    "dubstep", (138, 146), ("hard", "808"),
    {
        "kick": ("X.........x.....", "X..............x", "X.....x.......x.", "X..x......x....."),
        "snare": ("........X.......", "........X......g"),
        "hat": ("x...x...x...x...", "..x...x...x.x.xx", "x.x.x.xrx.x.x.x."),
        "rim": ("", "...x.....x....x.", ""),
        "open": ("", "....x.......x..."),
        "noise": ("", "", "............o..."),
    },
    ("R---------------", "R-----R-..R-b-..", "R-----------8---", "R---....R-R-R-b-"),
    ("wobble", "wobble", "reese", "sub bass"), ("minor", "phrygian", "harmonic minor"),
    ("i", "i bII", "i bVI", "i i bVI v"),
    ("x---------------", "........x.......", "..x.............", "x.......x......."),
    ("saw stab", "hollow pad", "supersaw"), ("square lead", "fm bell", "bell"), ("fm bell", "synth pluck"), ("hollow pad", "warm pad"),
    {"bass": 1.0, "comp": 0.45, "pad": 0.5, "arp": 0.25, "lead": 0.3, "fx": 0.4, "perc": 0.55},
    ({"snare": "........X.x.xxxx"}, {"kick": "X...............", "snare": "........X......."}, {"tom": "..........xxxxxx"}),
    bars_per_chord=(2, 4, 1), drive=(0.1, 0.45), reverb=(0.08, 0.3), room_s=(1.0, 2.5), rms_db=(-15, -9.5),
)
STYLES = (TRAP, BOOM_BAP, LOFI, DRUM_AND_BASS, BREAKBEAT, DUBSTEP)
