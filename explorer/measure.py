"""How fast the page is: `python explorer/measure.py [PAGE.html]` in the folder of the repository.

Prints the size of the file, the time to the first paint, and the time of a frame while the pointer
moves over maps of 32x32, while the kernel's size is dragged, and while the matrix is. A frame at 60
a second takes 16.7 ms; on a screen that no one looks at, work beyond that is what counts, so the
time that the page's own work takes is printed, too. Needs Playwright and Chromium.
"""

import shutil
import sys
from pathlib import Path
from statistics import median
from typing import Any

PAGE = Path(__file__).parent.parent / "src/faltung/explore/explorer.html"
LINE = "#n1+c1%3E1+32x32+k3+p1"
ROUNDS = 120
# Each step is one event; the work of its handlers, effects and drawing ends before the next frame.
STEPS = """async ([kind, count]) => {
  const find = label => [...document.querySelectorAll('input[type=range]')]
    .find(each => (each.ariaLabel || each.labels?.[0]?.textContent || '').includes(label));
  const map = [...document.querySelectorAll('canvas.map')].at(-1);
  const box = map.getBoundingClientRect();
  const slider = kind === 'hover' ? null : find(kind);
  const work = [], frames = [];
  let before = performance.now();
  for (let i = 0; i < count; i++) {
    await new Promise(requestAnimationFrame);
    const start = performance.now();
    frames.push(start - before);
    before = start;
    if (slider) {
      const [low, high] = [Number(slider.min), Number(slider.max)];
      slider.value = low + (high - low) * (0.5 + 0.5 * Math.sin(i / 9));
      slider.dispatchEvent(new Event('input', { bubbles: true }));
    } else {
      map.dispatchEvent(new PointerEvent('pointermove', {
        bubbles: true, pointerType: 'mouse',
        clientX: box.left + box.width * (0.5 + 0.49 * Math.sin(i / 7)),
        clientY: box.top + box.height * (0.5 + 0.49 * Math.cos(i / 5)),
      }));
    }
    await new Promise(done => setTimeout(done));
    document.body.offsetHeight;  // and the layout that follows
    work.push(performance.now() - start);
  }
  return [work, frames.slice(1)];
}"""


def shown(name: str, times: list[float]) -> None:
    late = sorted(times)[int(len(times) * 0.95)]
    print(
        f"{name:34} median {median(times):6.1f} ms, 95% {late:6.1f} ms, most {max(times):6.1f} ms"
    )


def measured(opened: Any, address: str) -> None:
    page = opened.new_page(viewport={"width": 1280, "height": 900})
    page.goto(address + LINE)
    page.wait_for_timeout(500)
    paint = page.evaluate("performance.getEntriesByType('paint').map(e => [e.name, e.startTime])")
    for name, time in paint:
        print(f"{name:34} {time:6.0f} ms")
    for kind in ("hover", "kernel", "size", "From dense"):
        work, frames = page.evaluate(STEPS, [kind, ROUNDS])
        shown(f"{kind}: work of a step", work)
        shown(f"{kind}: from frame to frame", frames)


def main() -> None:
    from playwright.sync_api import sync_playwright

    path = Path(sys.argv[1] if len(sys.argv) > 1 else PAGE).resolve()
    print(f"{'size of the file':34} {path.stat().st_size / 1000:6.0f} kB")
    with sync_playwright() as found:
        chromium = shutil.which("chromium")
        opened = found.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        measured(opened, path.as_uri())
        opened.close()


if __name__ == "__main__":
    main()
