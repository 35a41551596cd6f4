"""Last bars that every drummer knows: doubled backbeats, rolls, cascades, stops, pick-ups, sixteen steps each."""

COMMON_FILLS: tuple[dict[str, str], ...] = (
    {"snare": "....X.......X.xx"}, {"snare": "....X...X..X..X."}, {"snare": "....X..xX.xxX.xx"},
    {"snare": "....X...rrrrtttt"}, {"snare": "....X.......tttt"}, {"snare": "X..X..X..X..X.X."},
    {"snare": "gggggggooooxxxxX"}, {"clap": "....X.......XXXX"}, {"clap": "....X..X..X.X.X."},
    {"clap": "....X...X...X.XX"}, {"hat": "x.x.x.x.rrrrtttt"}, {"hat": "xxxxrrrrttttrrrr"},
    {"kick": "X...X...X.X.XXXX"}, {"rim": "x..x..x..x..x.x."}, {"rim": "....x.......x.xx"},
    {"conga": "x.xxx.xxx.xxxxxx"}, {"low conga": "x...x...x.x.xxxx"}, {"block": "x..x..x...x.x..."},
    {"timbale": "........x.xxxxxx"}, {"snare": "....X...X.X.XXXX", "kick": "X..............."},
    {"snare": "....X.........xx", "kick": "X.....X.X.X....."},
    {"kick": "X...X...X.......", "hat": "x.x.x.x........."},
    {"kick": "X...............", "snare": "....X...........", "hat": "x.x.x..........."},
    {"hat": "................", "open": "x...x...x...x..."},
    {"snare": "....X...xx......", "tom": "..........xx....", "low tom": "............xxxx"},
    {"tom": "x..x..x.........", "low tom": "........x..x..x."},
    {"tom": "....xx..xx......", "low tom": "............xx.X"},
    {"low tom": "x..x..x..x..x.x.", "snare": "....X..........."},
    {"snare": "....X...........", "kick": "X.X...X.X.X..XXX"},
    {"ride": "x...x...x...x...", "snare": "....X..g..xg..Xx"},
    {"shaker": "xxxxxxxxxxxxxxxx", "kick": "X..............."},
)  # fmt: skip
