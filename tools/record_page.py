"""The page filmed while an example streams, as an animated WebP for README.md:

    python tools/record_page.py -o docs/page.webp

The frames are those that Chromium shows, each for as long as it was shown.
"""

import argparse
import base64
import io
import sys
import time
from pathlib import Path
from typing import Any

from page_probe import ask_for, choose_example, hosting
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from page_server import browsing, open_page

VIEW = {"viewport": {"width": 1200, "height": 784}, "color_scheme": "dark"}
SIZE = (960, 627)  # of the film
EXAMPLE, SEED, N_BEATS = "Funk", 11, 24
LEAD_BEATS = 8  # of the loop, before what is new
SECONDS = 8.5
EVERY_NTH = 6  # of Chromium's 60 frames a second
QUALITY = 75
MAX_BYTES = 1_500_000
WAIT_MS = 300_000


def film(page: Any, seconds: float) -> list[tuple[float, bytes]]:
    """What the page shows while it plays: frames as JPEG, each with its time in seconds."""
    frames: list[tuple[float, bytes]] = []
    session = page.context.new_cdp_session(page)

    def keep(event: dict[str, Any]) -> None:
        frames.append((event["metadata"]["timestamp"], base64.b64decode(event["data"])))
        session.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})

    session.on("Page.screencastFrame", keep)
    session.send("Page.startScreencast", {"format": "jpeg", "quality": 95, "everyNthFrame": EVERY_NTH})
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        page.wait_for_timeout(20)  # lets events through
    session.send("Page.stopScreencast")
    return frames


def timed(frames: list[tuple[float, bytes]], end_s: float) -> list[tuple[int, bytes]]:
    """Each frame with the milliseconds for which it was shown."""
    times = [at for at, _ in frames] + [end_s]
    return [(max(1, round(1000 * (after - at))), image) for (at, image), after in zip(frames, times[1:])]


def write_webp(path: Path, frames: list[tuple[int, bytes]]) -> None:
    """An endless loop. Errors: ValueError where it is larger than README.md should carry."""
    images = [
        Image.open(io.BytesIO(image)).convert("RGB").resize(SIZE, Image.Resampling.LANCZOS) for _, image in frames
    ]
    durations = [duration for duration, _ in frames]
    images[0].save(
        path, save_all=True, append_images=images[1:], duration=durations, loop=0, quality=QUALITY, method=6,
        minimize_size=True,
    )  # fmt: skip
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes; at most {MAX_BYTES:,} are kept")


def main() -> None:
    """Film an example from its last two bars on."""
    parser = argparse.ArgumentParser(description="Film the page while an example streams.")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.webp")
    options = parser.parse_args()
    with hosting() as host, browsing() as browser:
        page = open_page(browser, host.url, **VIEW)
        choose_example(page, EXAMPLE)
        page.wait_for_function("melformer.state.loop.present.length > 1", timeout=WAIT_MS)
        ask_for(page, N_BEATS)
        page.fill("#mf-seed", str(SEED))
        page.evaluate("document.querySelector('details.mf-more').open = false")
        page.evaluate("scrollTo(0, 0)")
        page.evaluate("document.querySelector('[data-act=continue]').click()")
        start = f"melformer.state.store.beatAt(melformer.player.at) >= melformer.state.loop.n_beats - {LEAD_BEATS}"
        page.wait_for_function(f"melformer.player.playing && {start}", timeout=WAIT_MS)
        frames = film(page, SECONDS)
    shown = timed(frames, frames[0][0] + SECONDS)
    write_webp(options.output, shown)
    seconds = sum(duration for duration, _ in shown) / 1000
    print(f"{len(shown)} frames, {seconds:.1f} s, {options.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
