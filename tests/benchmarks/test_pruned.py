"""Networks with fewer channels: how many stay, lines that are read back, and the page."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from benchmarks import pruned
from faltung import nets
from faltung.compress.dependencies import dependencies

ROWS = (
    pruned.Row(1.0, "", 1_000_000, 2_000_000, 2_100_000),
    pruned.Row(0.5, "odd", 250_000, 600_000, 700_000),
)
LINE = pruned.Line("resnet18", 1, "2030-01-02", {"processor": "A processor"}, ROWS)


def test_layers_keep_an_odd_number_or_a_multiple_of_eight() -> None:
    shape = (3, 32, 32)
    found = dependencies(nets.get("resnet18", input_shape=shape, width=0.5), shape)
    every = Counter(group.layer for group in found.groups)
    for share in pruned.SHARES:
        for odd in (True, False):
            gone = Counter(group.layer for group in pruned.cut(found, share, odd))
            for layer, count in every.items():
                kept = count - gone[layer]
                assert kept % 2 == 1 if odd else kept % 8 == 0
                assert abs(kept - share * count) <= (1 if odd else 4)


def test_lines_are_read_back(tmp_path: Path) -> None:
    assert pruned.line_of(LINE.text) == LINE
    newer = replace(LINE, day="2030-01-03")
    other = replace(LINE, name="unet")
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join([other.text, LINE.text, newer.text, ""]))
    assert pruned.read(path) == [newer, other]
    assert pruned.main(["--page", "--out", str(path)]) == 0
    text = path.with_suffix(".md").read_text()
    assert "Measured on A processor" in text and "## ResNet-18, 1 thread" in text
    assert "| 50% | odd | 0.2 | 0.600 | 25.0% | 30.0% | 1.20 |" in text
