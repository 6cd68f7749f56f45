"""The pictures of the README: ``faltung train digits`` in a terminal, and the report it writes.

    python docs/make_pictures.py FOLDER   # an empty folder, for the run

The terminal is a real one (a pseudo-terminal, read by pyte), the moving picture an SVG whose frames
take turns by CSS, and which stands still for readers who prefer less motion. The report is opened
in Chromium by Playwright.
"""

import os
import pty
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from html import escape
from pathlib import Path

import pyte

PICTURES = Path(__file__).parent / "pictures"
COLUMNS, ROWS = 96, 19
COMMAND = ["faltung", "train", "digits", "--epochs", "12", "--out", "runs/digits"]
WIDTH, HEIGHT, SIZE = 8.4, 18, 14  # of a character, of a line, of the letters
FRAME = 0.25  # seconds, at least
REST = 4.0  # seconds of the last frame
CHROMIUM = "/usr/bin/chromium"


def frames(folder: Path) -> Iterator[tuple[float, list[str]]]:
    """The seconds at which the screen changed, and its lines."""
    import fcntl
    import termios

    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    start = time.monotonic()
    process = subprocess.Popen(
        COMMAND, cwd=folder, env=environment, stdin=other, stdout=other, stderr=other
    )
    os.close(other)
    shown, last = [""], -FRAME
    while True:
        ready, _, _ = select.select([main], [], [], FRAME)
        try:
            read = os.read(main, 1 << 16) if ready else b""
        except OSError:  # the other side is closed
            break
        stream.feed(read)
        lines, now = [line.rstrip() for line in screen.display], time.monotonic() - start
        if lines != shown and now - last >= FRAME:
            shown, last = lines, now
            yield now, lines
        if ready and not read:
            break
    process.wait()
    yield time.monotonic() - start, [line.rstrip() for line in screen.display]


def moving(found: list[tuple[float, list[str]]]) -> str:
    """The frames as one SVG."""
    typed = f"$ {' '.join(COMMAND[:3])}"
    whole = found[-1][0] + REST
    starts = [0.0, *(seconds for seconds, _ in found)]
    screens = [[], *(lines for _, lines in found)]
    rules, groups = [], []
    for number, (seconds, lines) in enumerate(zip(starts, screens, strict=True)):
        end = starts[number + 1] if number + 1 < len(starts) else whole
        first, then = 100 * seconds / whole, 100 * end / whole
        steps = f"0%,{first:.3f}%{{visibility:hidden}}" if first else ""
        steps += f"{first + 0.001:.3f}%,{then:.3f}%{{visibility:visible}}"
        steps += "" if then >= 100 else f"{then + 0.001:.3f}%,100%{{visibility:hidden}}"
        rules.append(f"@keyframes f{number}{{{steps}}}#f{number}{{animation-name:f{number}}}")
        texts = "".join(
            f'<text x="16" y="{58 + HEIGHT * (row + 1)}">{escape(line)}</text>'
            for row, line in enumerate(lines)
            if line
        )
        groups.append(f'<g id="f{number}" class="frame">{texts}</g>')
    width, height = COLUMNS * WIDTH + 32, 58 + HEIGHT * (ROWS + 1)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img">
<title>{escape(typed)} in a terminal</title>
<style>
text{{font:{SIZE}px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#d8dee9}}
text{{white-space:pre}}
.frame{{visibility:hidden;animation:{whole:.2f}s step-end infinite}}
{"".join(rules)}
@media (prefers-reduced-motion:reduce){{
.frame{{animation:none}}#f{len(screens) - 1}{{visibility:visible}}}}
</style>
<rect width="100%" height="100%" rx="8" fill="#1f2430"/>
<circle cx="20" cy="18" r="6" fill="#ff5f57"/><circle cx="40" cy="18" r="6" fill="#febc2e"/>
<circle cx="60" cy="18" r="6" fill="#28c840"/>
<text x="16" y="54">{escape(typed)}</text>
{"".join(groups)}
</svg>
"""


def photographed(report: Path, out: Path) -> None:
    """The first screen of a page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(viewport={"width": 1280, "height": 800}, device_scale_factor=1)
        page.goto(report.resolve().as_uri())
        page.screenshot(path=str(out))
        browser.close()


def main() -> int:
    """Write both pictures."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        print("usage: python docs/make_pictures.py FOLDER", file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / "terminal.svg").write_text(moving(list(frames(folder))), "utf-8")
    photographed(folder / "runs/digits/report.html", PICTURES / "report.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
