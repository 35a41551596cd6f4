"""Tables of speed, tempo and codec, from files of docs/results."""

from typing import Any

from quality_tables import figure, markdown, source


def codec_text(results: dict[str, Any]) -> str:
    """One system a line for each set, then one codebook a line."""
    columns = {"kbps": ("kbps", 1), "mel_distance": ("mel", 2), "stft_distance": ("STFT", 2),
               "si_sdr_db": ("SI-SDR dB", 1), "loudness_error_db": ("LUFS err", 2), "onset_f1": ("onset F1", 2),
               "chroma_cosine": ("chroma", 2), "pitch_error_cents": ("cents", 1)}  # fmt: skip
    rows, books = [], []
    for name, found in results["sets"].items():
        for system, scores in found["systems"].items():
            numbers = [figure(scores[key], digits) for key, (_, digits) in columns.items()]
            rows.append([f"{name}, {found['n_clips']} loops", system, *numbers])
        codes = found["codes"]
        for i, book in enumerate(codes["codebooks"]):
            stable = [codes["stability"][key][i] for key in ("half_sample", "noise_60db", "louder_half_db")]
            shares = (book["used_share"], book["entropy_share"], *stable)
            books.append([name, str(i + 1), *(figure(share, percent=True) for share in shares)])
    head = ["set", "codebook", "entries used", "entropy of the maximum"]
    stable_head = ["stable: half a sample", "noise at −60 dB", "+0.5 dB"]
    systems = markdown(["set", "system", *(name for name, _ in columns.values())], rows)
    return "\n\n".join([systems, markdown([*head, *stable_head], books), source(results)])


def bench_text(results: dict[str, Any]) -> str:
    """One measure a line, at both tempi; bold where its target is met."""
    found = results["bench"]
    slow, fast = found["speeds"]

    def row(name: str, wanted: str, key: str, targets: list[float], unit: str = "", digits: int = 1) -> list[str]:
        higher = key.startswith("x_")
        cells = []
        for speed, target in zip((slow, fast), targets):
            met = speed[key] >= target if higher else speed[key] <= target
            text = figure(speed[key], digits) + unit
            cells.append(f"**{text}**" if met else text)
        return [name, wanted, *cells]

    def one(name: str, wanted: str, value: float, limit: float, unit: str = "", digits: int = 1) -> list[str]:
        text = figure(value, digits) + unit
        return [name, wanted, f"**{text}**" if value <= limit else text, ""]

    rows = [
        row("× real time, median", "8, 5", "x_real_time_median", [8, 5]),
        row("× real time that 95% of the beats reach", "5, 3", "x_real_time_p95", [5, 3]),
        row("× real time where every bar leaves the loop", "2, 2", "x_real_time_anew", [2, 2]),
        row("16 beats heard to first new beat", "1 s", "first_beat_s", [1, 1], " s", 2),
        row("the same where stems are given", "0.5 s", "own_stems_s", [0.5, 0.5], " s", 2),
        one("from start to first beat", "6 s", found["cold_start_s"], 6, " s"),
        one("four takes, × the time of one", "1.5", found["takes_ratio"], 1.5, "", 2),
        one("peak memory", "1,500 MB", found["peak_memory_mb"], 1500, " MB", 0),
        one("weights", "80 MB", found["checkpoint_mb"], 80, " MB", 0),
    ]
    tables = [markdown(["", "target at 120, 174 BPM", "120 BPM", "174 BPM"], rows)]
    quiet = f"one thread, load {figure(found['load_average'], 1)} before"
    tables.append(f"Medians of its runs, {quiet}: {source(results)}")
    if turns := results.get("in turns"):
        keys = {
            "120 BPM: × real time, median": lambda run: run["speeds"][0]["x_real_time_median"],
            "174 BPM: × real time, median": lambda run: run["speeds"][1]["x_real_time_median"],
            "from start to first beat, s": lambda run: run["cold_start_s"],
            "four takes, × the time of one": lambda run: run["takes_ratio"],
        }  # fmt: skip
        compared = [[name, *(figure(of(run), 1) for run in turns.values())] for name, of in keys.items()]
        tables += [
            "Earlier code, which did not separate loops, run in turns with this:",
            markdown(["", *turns], compared),
        ]
    return "\n\n".join(tables)


def speed_text(results: dict[str, Any]) -> str:
    """What a player notices, in a sentence."""
    found = results["bench"]
    speed, size = found["speeds"][0], figure(found["peak_memory_mb"], 0)
    return (
        f"On one core of a CPU ({results['machine']}) a loop of 16 beats at 120 BPM is continued "
        f"{figure(speed['x_real_time_median'], 0)} times as fast\nas it plays; the first new beat is there "
        f"{figure(speed['first_beat_s'], 1)} s after the request. It takes {size} MB of memory, and the weights "
        f"{figure(found['checkpoint_mb'], 0)} MB\n"
        "([all figures, the command, and other systems](docs/explanation/speed.md))."
    )


def parts_text(results: dict[str, Any]) -> str:
    """One part of a beat's computing a line, beside its limits."""
    rows = []
    for part in results["parts"]:
        limits = [figure(part[key] or None) for key in ("reading_ms", "multiplying_ms")]
        rows.append([part["name"], figure(part["share"], percent=True), figure(part["beat_ms"], 1), *limits])
    return markdown(["of a beat at 120 BPM", "share", "ms", "least to read, ms", "least to multiply, ms"], rows)


def tempo_text(results: dict[str, Any]) -> str:
    """One set a line, then fifths by confidence."""
    columns = ("right", "octave", "wrong", "first_beat", "metre", "downbeat")
    rows = [
        [name, str(s["n"]), *(figure(s.get(key), percent=True) for key in columns)]
        for name, s in results["sets"].items()
    ]
    sets = markdown(["clips", "number", *(key.replace("_", " ") for key in columns)], rows)
    trust = results["calibration"]
    fifths = [
        [str(i), figure(fifth["confidence"]), figure(fifth["right"], percent=True)]
        for i, fifth in enumerate(trust["fifths"], 1)
    ]
    others = trust["expected_errors_of_others"].items()
    also = "".join(f", of {key.replace('_', ' ')} {figure(value, 3)}" for key, value in others)
    said = (
        f"Expected calibration error {figure(trust['expected_error'], 3)} over {trust['n']:,} clips{also}; 0.9 or more "
        f"on a wrong tempo: {figure(100 * trust['sure_and_wrong'], 1)}%, on half or double: "
        f"{figure(100 * (trust['sure_and_not_right'] - trust['sure_and_wrong']), 1)}%. "
        f"{figure(results['seconds_of_a_core_for_8_s'])} s of a core for 8 s of sound."
    )
    table = markdown(["fifth by confidence", "confidence", "right"], fifths)
    return "\n\n".join([sets, table, said, source(results)])
