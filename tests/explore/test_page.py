"""The page in a browser: every control, by mouse, keyboard and touch; small, dark, still; nothing
leaves it, nothing is said in its console, and axe finds nothing serious.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from explore.conftest import Opener

import faltung

SECTIONS = ("window", "formula", "dense", "code")


def shape(*sizes: int) -> str:
    return "\N{MULTIPLICATION SIGN}".join(map(str, sizes))


def show(page: Any, line: str, direction: str = "forward") -> None:
    """Another convolution, typed into the line."""
    page.fill("#line", line)
    page.check(f"input[name=direction][value={direction}]")
    page.wait_for_timeout(30)  # a frame


def line(page: Any) -> str:
    found: str = page.input_value("#line")
    return found


def said(page: Any) -> str:
    found: str = page.inner_text(".said")
    return found


def serious(page: Any) -> list[str]:
    """What axe finds that is serious or worse."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page).response["violations"]
    return [
        f"{each['id']}: {node['html'][:120]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def over(page: Any, grid: str, row: int, column: int, cells: tuple[int, int]) -> None:
    """The pointer over a cell of a map of so many rows and columns."""
    page.evaluate("Promise.all(document.getAnimations().map(each => each.finished))")
    page.wait_for_timeout(30)
    canvas = page.locator(f"canvas[aria-label^={grid}]")
    box = canvas.bounding_box()
    x = box["width"] * (column + 0.5) / cells[1]
    canvas.hover(position={"x": x, "y": box["height"] * (row + 0.5) / cells[0]})


def test_the_line_is_the_address_and_says_what_is_wrong(explorer: Any) -> None:
    page = explorer
    show(page, "n1 c3>8 12x12 k3 s2 p1 d2")
    assert shape(1, 8, 5, 5) in page.inner_text("#problem")
    page.fill("#line", "c1>1 8 k9")
    with pytest.raises(faltung.FaltungError) as error:
        faltung.parse("c1>1 8 k9")
    assert page.inner_text("#problem") == str(error.value)
    assert page.get_attribute("#line", "aria-invalid") == "true"
    page.click("text=Dilated")
    page.click("text=Transposed")
    assert page.evaluate("location.hash").endswith("+k3+s2&transposed")
    page.go_back()
    page.wait_for_timeout(30)
    assert line(page) == "n1 c1>1 11x11 k3 p2 d2"
    assert page.is_checked("input[name=direction][value=forward]")
    page.click("text=Copy link")
    assert page.locator("button", has_text="Cop").or_(page.locator("text=Selected")).count()


def test_sliders_and_fields_write_the_line(explorer: Any) -> None:
    page = explorer
    show(page, "n1 c1>1 9x9 k3")
    for name, value in (("size", 12), ("kernel", 4), ("stride", 2), ("dilation", 2)):
        page.get_by_label(name, exact=True).first.fill(str(value))
    assert line(page) == "n1 c1>1 12x12 k4 s2 d2"
    page.get_by_label("kernel, as a number").fill("3")
    page.get_by_label("padding", exact=True).select_option("same")
    assert line(page) == "n1 c1>1 12x12 k3 s2 psame d2"
    page.get_by_label("kernel", exact=True).fill("5")  # the name stays what it was
    assert line(page) == "n1 c1>1 12x12 k5 s2 psame d2"
    page.get_by_label("padding before").fill("1")
    assert line(page) == "n1 c1>1 12x12 k5 s2 p(1,4)x(1,4) d2"
    page.get_by_label("padding mode").select_option("circular")
    page.check("text=each axis on its own")
    page.get_by_label("width: padding mode").select_option("reflect")
    page.get_by_label("height: size", exact=True).fill("20")
    assert line(page) == "n1 c1>1 20x12 k5 s2 p(1,4)x(1,4) d2 m:circular,reflect"
    page.get_by_label("channels in", exact=True).fill("4")
    page.get_by_label("channels out", exact=True).fill("6")
    page.get_by_role("combobox", name="groups").select_option("2")
    page.get_by_label("batch").fill("3")
    assert line(page).startswith("n3 c4>6 ") and " g2 " in line(page), line(page)
    page.get_by_role("button", name="depthwise", exact=True).click()
    page.check("text=turn the kernel over")
    assert line(page).startswith("n3 c4>8 ") and line(page).endswith(" flip")
    page.check("input[name=rank][value='3']")
    assert len(faltung.parse(line(page)).axes) == 3
    page.check("input[name=rank][value='1']")
    assert len(faltung.parse(line(page)).axes) == 1
    page.get_by_label("kernel", exact=True).fill("9")
    page.get_by_label("size", exact=True).fill("2")  # the kernel gives way
    assert page.inner_text("#problem").startswith(shape(3, 4, 2))


def test_what_an_output_reads_and_what_an_input_feeds(explorer: Any) -> None:
    page = explorer
    page.click("text=The classic")
    page.select_option("select:has(option[value=ramp]) >> nth=0", "ramp")
    page.select_option("select:has(option[value=mean])", "ramp")
    over(page, "Output", 0, 0, (7, 7))
    # Entries i + j, the kernel 1 .. 9, the first row and column of padding: 1*5 + ... by hand.
    expected = 0 * 5 + 1 * 6 + 1 * 8 + 2 * 9
    assert f"output [0, 0] = {expected}" in said(page)
    over(page, "Input", 0, 0, (9, 9))
    assert "Padding at [-1, -1]: a zero, read by 1 output" in said(page)
    over(page, "Input", 1, 1, (9, 9))
    assert "Input [0, 0] = 0 feeds 4 outputs" in said(page) and "g[1, 1]" in said(page)
    over(page, "Kernel", 0, 2, (3, 3))
    assert "w[0, 2] = 3 is shared" in said(page)
    page.mouse.move(5, 5)
    page.locator("canvas[aria-label^=Output]").click(position={"x": 3, "y": 3})
    page.mouse.move(5, 5)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert "output [1, 1]" in said(page)
    page.get_by_label("Output: width").fill("3")
    assert "output [1, 3]" in said(page)
    page.get_by_label("Step", exact=True).click()
    assert "output [1, 4]" in said(page)
    page.get_by_label("Step back").click()
    page.click("text=Play")
    page.locator(".said", has_not_text="output [1, 3]").wait_for()
    page.click("text=Pause")
    page.locator("canvas[aria-label^=Input]").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.type("100")
    assert page.evaluate("document.activeElement.id") == "value"
    assert page.input_value("#value") == "100"
    page.click("text=Undo my numbers")
    page.click("summary:has-text('Table: what goes with')")
    assert page.locator("#window table tbody tr").count() > 0


def test_modes_channels_volumes_and_the_other_way(explorer: Any) -> None:
    page = explorer
    page.click("text=Globe")
    over(page, "Input", 1, 0, (10, 18))
    assert "copies entry [0, 15]" in said(page)
    page.click("text=Depthwise")
    page.get_by_label("channel out").select_option("2")
    assert page.get_by_label("channel in ").input_value() == "2"
    show(page, "c4>4 6x6 k3 p1")
    page.get_by_label("Which grid the chosen entry is in").select_option("out")
    assert "channel 1" in said(page) and "channel 3" in said(page)
    page.click("text=Volume")
    page.get_by_label("Input: slice", exact=True).fill("2")
    page.get_by_label("turn", exact=True).fill("40")
    page.click("button:text-is('Transposed')")
    over(page, "Output", 1, 1, (4, 4))
    assert "is scattered to 9 places" in said(page)
    over(page, "Input", 4, 4, (9, 9))
    assert "input [4, 4] =" in said(page) and said(page).count("·") == 4
    page.click("text=True convolution")
    over(page, "Kernel", 0, 0, (3, 3))
    assert "w[2, 2] = 9" in said(page)
    show(page, "c1>1 3x3x3x3 k2")
    assert "one to three axes" in page.inner_text("#window")
    show(page, "c64>64 999x999 k9")
    assert "too large" in page.inner_text("#window")


def test_the_formula_and_where_the_shortcut_fails(explorer: Any) -> None:
    page = explorer
    show(page, "n1 c3>4 8x8 k3 s2 p1")
    formula = page.locator("#formula")
    assert formula.locator("math").count() == 1  # both axes are alike
    assert "9 · " not in formula.inner_text() and "4 · 3 · 3 · 3" in formula.inner_text()
    formula.locator("text=Show where it fails").click()
    assert "Here it is wrong" in formula.inner_text() and "⌊9/2⌋ = 4" in formula.inner_text()
    formula.get_by_role("button", name="stride 2").focus()
    assert formula.locator("munder.on").count() == 1
    formula.locator("munder.of-padding").hover()
    assert formula.locator("munder.of-padding.on").count() == 1
    show(page, "n1 c3>4 8x8 k3 s2 p0")
    formula.locator("text=Show a case").click()
    assert "psame" in line(page)


def test_from_dense_to_convolution(explorer: Any) -> None:
    page = explorer
    show(page, "n1 c1>1 8x8 k3 p1")
    dense = page.locator("#dense")
    ladder = faltung.parse(line(page)).ladder()
    slider = page.get_by_label("From dense over local to convolution")
    for value, count in (("0", ladder.dense), ("1", ladder.local), ("2", ladder.conv)):
        slider.fill(value)
        assert dense.locator(".now b").inner_text() == f"{count:,}"
    slider.fill("0.5")
    assert "about" in dense.inner_text()
    dense.locator(".rung", has_text="Local").click()
    assert "Locality" in dense.inner_text()
    matrix = dense.locator("canvas")
    matrix.scroll_into_view_if_needed()
    matrix.hover(position={"x": 3, "y": 3})
    assert "output [0, 0], input [0, 0]: weight w[1, 1]" in dense.inner_text()
    text = dense.inner_text()
    assert "163,328" in text and "387,072" in text  # GoogLeNet's 3a, without biases
    dense.get_by_label("convolutions that make it cheap").uncheck()
    assert "416" in dense.inner_text()


def test_nothing_serious_and_the_menu(explorer: Any) -> None:
    page = explorer
    show(page, "n1 c4>4 6x6x6 k3 p1")
    page.evaluate("document.querySelectorAll('details').forEach(each => (each.open = true))")
    page.wait_for_timeout(50)
    assert serious(page) == []
    links = page.locator(".menu a")
    assert links.count() >= len(SECTIONS)
    links.nth(2).click()
    assert page.evaluate("document.activeElement.id") == "dense-title"
    assert "c4" in page.evaluate("location.hash")  # the address is still the line's
    page.check("input[name=theme][value=dark]")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 26)"
    page.check("input[name=theme][value=auto]")


@pytest.fixture(scope="module")
def phone(opener: Opener) -> Iterator[Any]:
    page = opener(
        "#n1+c2%3E2+9+k3+p(2,0)+m:reflect",
        viewport={"width": 360, "height": 740},
        has_touch=True,
        is_mobile=True,
        color_scheme="dark",
        reduced_motion="reduce",
    )
    yield page
    assert page.said == []
    page.context.close()


def test_on_a_phone_in_the_dark(phone: Any) -> None:
    page = phone
    assert line(page) == "n1 c2>2 9 k3 p(2,0) m:reflect"
    page.tap("summary:text-is('Controls')")
    page.locator("canvas[aria-label^=Output]").tap(position={"x": 5, "y": 90})
    assert "output [0]" in said(page)
    page.evaluate("document.querySelectorAll('details').forEach(each => (each.open = true))")
    for text in (
        *("c1>1 9 k3 s2 p1", "c3>8 12x12 k3 s2 p1 d2", "c2>2 4x5x6 k3 p1 m:circular"),
        "c3>64 224x224 k7 s2 p3",
    ):
        page.fill("#line", text)
        page.wait_for_timeout(60)
        assert page.evaluate("document.documentElement.scrollWidth") == 360, text
    page.fill("#line", "c3>3 8x8 k3 g3 flip")
    page.wait_for_timeout(50)
    assert serious(page) == []
    assert page.evaluate("document.getAnimations().length") == 0
