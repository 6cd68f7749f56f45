"""Ten states of the page look as they did when somebody looked at them.

Pictures are made small before they are compared, so that other fonts do not matter and a section
that is gone, a colour that is lost or a grid that is displaced does. `--update` writes them anew:
look at ``pictures.png`` then.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SHEET = Path(__file__).with_name("pictures.png")
# The address, the section in view, the width, and the colours.
STATES = (
    ("#n1+c1>1+7x7+k3+p1", "window", 1280, "light"),
    ("#n1+c1>1+9x9+k3+s2+p1", "window", 1280, "dark"),
    ("#n1+c1>1+24+k5+pcausal", "window", 360, "light"),
    ("#n1+c1>1+6x12+k3+p1+m:replicate,circular", "window", 1280, "light"),
    ("#n1+c4>4+6x6+k3+p1+g4", "window", 1280, "light"),
    ("#n1+c1>1+5x5x5+k3+p1", "window", 1280, "dark"),
    ("#n1+c1>1+7x7+k3+s2+p1&transposed", "window", 360, "dark"),
    ("#n1+c1>1+8+k3+s3+psame", "formula", 1280, "light"),
    ("#n1+c1>1+8x8+k3+p1", "dense", 1280, "light"),
    ("#n1+c1>1+8x8+k3+p1", "processor", 1280, "dark"),
)
HEIGHT, SMALL = 800, (96, 80)  # of the window; of a picture that is compared


def taken(opener: Any) -> np.ndarray:
    """All states side by side, (80, 10 * 96, 3)."""
    pictures = pytest.importorskip("PIL.Image")
    made = []
    for address, section, width, scheme in STATES:
        page = opener(
            address.replace(">", "%3E"),
            viewport={"width": width, "height": HEIGHT},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        page.locator(f"#{section}").evaluate("each => each.scrollIntoView()")
        page.wait_for_timeout(250)
        with pictures.open(io.BytesIO(page.screenshot())) as whole:
            small = whole.convert("RGB").resize(SMALL, pictures.Resampling.BOX)
        made.append(np.asarray(small))
        assert page.said == []
        page.context.close()
    return np.concatenate(made, 1)


def test_ten_states(opener: Any, pytestconfig: pytest.Config) -> None:
    pictures = pytest.importorskip("PIL.Image")
    found = taken(opener)
    if pytestconfig.getoption("update"):
        pictures.fromarray(found).save(SHEET, optimize=True)
    with pictures.open(SHEET) as sheet:
        known = np.asarray(sheet.convert("RGB"))
    for (address, section, *_), one, other in zip(
        STATES, np.split(found, 10, 1), np.split(known, 10, 1), strict=True
    ):
        off = np.abs(one.astype(float) - other).mean(2)
        assert off.mean() < 6, f"{address}, {section}: {off.mean():.1f} of 255 off in the mean"
        # A few letters may stand elsewhere; a tenth of the picture may not.
        assert (off > 40).mean() < 0.1, f"{address}, {section}: {(off > 40).mean():.0%} differs"
