"""Six continuations of the shipped checkpoint, to hear and to see: docs/clips, by `make clips`.

Each is what `melformer continue` writes for the loop with this seed, unedited, coded as Ogg Vorbis; with it a picture,
its line in README.md and its part of docs/clips/README.md. What is said of a clip is checked against its sources, so
that another checkpoint needs other clips. The recorded loops are those of Debian's sonic-pi-samples (`apt-get install
sonic-pi-samples`; `dpkg -x` and --samples do as well).
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from clip_picture import draw_continuation
from make_results import put

from melformer import Melformer
from melformer.audio.waveform import Waveform
from melformer.generate.generated import Continuation
from melformer.stems import STEMS

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "clips"
SONIC_PI = Path("/usr/share/sonic-pi/samples")
MAX_BYTES = 2_500_000  # of all clips and pictures: a repository is not a record shop
Claim = tuple[int, str, str | int]
"""Of a new bar and a stem: "cut" twice or more, half of it from "elsewhere" in the loop, or by so many semitones."""


INTRODUCTION = """# Clips

What the embedded checkpoint made of six loops: the loop, then its continuation, unedited, with default settings. The
seeds were chosen from the first twelve of each loop, because something happens soon. Bars are counted from the end of
the loop. In the pictures the hue is the place in the loop that half a beat of a stem comes from; what is hatched is
transposed, by the semitones written there. `make clips` makes clips, pictures and this page again."""


@dataclass(frozen=True)
class Clip:
    """A loop, how it is continued, what happens then, and the claims that this rests on."""

    title: str
    loop: str  # a file of examples/ or of sonic-pi-samples
    n_beats: int
    seed: int
    happens: str
    claims: tuple[Claim, ...]
    bpm: float | None = None  # of a recorded loop, whose name does not say it
    author: str = ""  # of a recorded loop
    source: str = ""

    @property
    def name(self) -> str:
        return Path(self.loop).stem + f"_seed{self.seed}"

    def path(self, samples: Path) -> Path:
        return (samples if self.author else ROOT / "examples") / self.loop

    @property
    def command(self) -> str:
        loop = f"{SONIC_PI}/{self.loop} --bpm {self.bpm:g}" if self.author else f"examples/{self.loop}"
        return f"melformer continue {loop} --beats {self.n_beats} --seed {self.seed} -o out.wav"


CLIPS = (
    Clip("Safari, 120 BPM, recorded", "loop_safari.flac", 24, 10,
         "Bar 1 steps down over a broken beat; bar 3 goes up a fourth, bass and chords together, and adds a kick.",
         ((1, "other", -2), (1, "drums", "cut"), (3, "bass", 5), (3, "other", 5), (3, "drums", "cut")),
         bpm=119.92, author="nemaavla", source="https://freesound.org/people/nemaavla/sounds/318759/"),
    Clip("Compus, 148 BPM, recorded drums", "loop_compus.flac", 32, 4,
         "Bar 4 is a fill with twice as many hits; bars 6 and 7 end in rolls.",
         ((4, "drums", "cut"), (4, "drums", "elsewhere"), (6, "drums", "cut"), (7, "drums", "cut")),
         bpm=148.0, author="godspine", source="https://freesound.org/people/godspine/sounds/212288/"),
    Clip("Funk, 100 BPM", "funk_100bpm.flac", 24, 11,
         "In bar 2 the bass goes up a fourth; in bar 3 the chords follow, over a beat that stays broken in bar 4.",
         ((2, "bass", 5), (3, "bass", 5), (3, "other", 5), (3, "drums", "cut"), (4, "drums", "cut"))),
    Clip("Drum and bass, 178 BPM", "drum_and_bass_178bpm.flac", 20, 10,
         "At once the bass goes up a third; bar 4 goes down a fourth, bass and chords together, over breaking drums.",
         ((1, "bass", 4), (2, "drums", "elsewhere"), (4, "bass", -5), (4, "other", -5), (4, "drums", "cut"))),
    Clip("Trap, 150 BPM", "trap_150bpm.flac", 32, 12,
         "Bar 3 answers a whole tone down, bass and chords together; through bars 4 to 6 the drums roll.",
         ((3, "bass", -2), (3, "other", -2), (4, "drums", "cut"), (5, "drums", "cut"), (6, "drums", "cut"))),
    Clip("Bossa nova, 120 BPM", "bossa_nova_120bpm.flac", 24, 9,
         "At once bass and chords go up a fifth; in bar 2 the bass goes down one, under the loop's own chords.",
         ((1, "bass", 7), (1, "other", 7), (2, "bass", -7), (2, "drums", "elsewhere"), (3, "drums", "elsewhere"))),
)  # fmt: skip


def main() -> None:
    """Write docs/clips and the table of README.md."""
    parser = argparse.ArgumentParser(description="Clips and pictures of what the embedded checkpoint makes.")
    parser.add_argument("--samples", type=Path, default=SONIC_PI, metavar="DIR", help="the loops of sonic-pi-samples")
    samples = parser.parse_args().samples
    missing = [str(clip.path(samples)) for clip in CLIPS if not clip.path(samples).exists()]
    if missing:
        parser.error(f"{missing[0]} is not there: apt-get install sonic-pi-samples, or name its folder with --samples")
    model = Melformer.from_pretrained()
    FOLDER.mkdir(exist_ok=True)
    for old in [*FOLDER.glob("*.ogg"), *FOLDER.glob("*.webp")]:
        old.unlink()
    for clip in CLIPS:
        made = model.generate(clip.path(samples), clip.n_beats, seed=clip.seed, bpm=clip.bpm)
        check(clip, made)
        write_ogg(FOLDER / f"{clip.name}.ogg", made.waveform)
        picture = draw_continuation(made, model.stems(made.prompt), f"{clip.title}, seed {clip.seed}")
        picture.savefig(FOLDER / f"{clip.name}.webp", dpi=100, pil_kwargs={"quality": 80})
    (FOLDER / "README.md").write_text(page(), encoding="utf-8")
    readme = ROOT / "README.md"
    readme.write_text(put(readme.read_text(encoding="utf-8"), "clips", table(), "clips"), encoding="utf-8")
    size = sum(path.stat().st_size for path in FOLDER.iterdir())
    assert size < MAX_BYTES, f"docs/clips has {size:,} bytes; at most {MAX_BYTES:,} are kept"
    print(f"{len(CLIPS)} clips and their pictures, {size:,} bytes")


def check(clip: Clip, made: Continuation) -> None:
    """Errors: ValueError for a claim that the sources do not bear out."""
    prompt = made.prompt
    bar = round(prompt.beats_per_bar * prompt.n_units / prompt.n_beats)
    for number, stem, what in clip.claims:
        first = (number - 1) * bar
        choices = [unit[STEMS.index(stem)] for unit in made.sources[first : first + bar]]
        if what == "cut":
            n_found, n_wanted = sum(choice.second is not None for choice in choices), 2
        elif what == "elsewhere":
            n_found = sum(choice.source != (first + i) % prompt.n_units for i, choice in enumerate(choices))
            n_wanted = bar // 2
        else:
            n_found, n_wanted = sum(choice.shift == what for choice in choices), bar // 4
        if n_found < n_wanted:
            raise ValueError(f"{clip.name}, bar {number}: {stem} {what} {n_found} times in {bar}, not {n_wanted}")


def write_ogg(path: Path, clip: Waveform) -> None:
    """In pieces: libsndfile's Vorbis encoder overflows its stack on long ones (libsndfile issue 908)."""
    import soundfile

    with soundfile.SoundFile(path, "w", clip.sample_rate, clip.n_channels, "VORBIS", format="OGG") as file:
        for start in range(0, clip.n_samples, 8_192):
            file.write(clip.samples[start : start + 8_192])


def table() -> str:
    """What README.md says of each clip."""
    rows = [f"| [{clip.title}](docs/clips/{clip.name}.ogg) | {clip.happens} |" for clip in CLIPS]
    return "\n".join(["| clip | what happens after the loop |", "|---|---|", *rows])


def page() -> str:
    """docs/clips/README.md."""
    parts = [INTRODUCTION]
    for clip in CLIPS:
        lines = [f"## {clip.title}", f"[Listen]({clip.name}.ogg). {clip.happens}", f"    {clip.command}"]
        if clip.author:
            origin = f"`{clip.loop}` of Debian's `sonic-pi-samples`"
            lines.append(f"The loop is {origin}, by [{clip.author}]({clip.source}), in the public domain (CC0).")
        parts.append("\n\n".join([*lines, f"![Stems and sources]({clip.name}.webp)"]))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
