"""SciPy's own tests with our functions in the place of theirs.

All of them: ``python tests/scipy_suite.py`` (a minute); words of file names run only these. Each
row of ``SUITES`` names one of our modules, theirs, and files of tests; a test counts where it calls
one of our functions. ``EXPECTED`` lists tests that must fail, each with its reason: one that passes
is wrong, too. Wheels of SciPy may come without tests.
"""

import functools
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple


class Suite(NamedTuple):
    """``ours`` stands in for functions of the same name in ``theirs``, wherever SciPy has them."""

    ours: str
    theirs: str
    files: tuple[str, ...]


SUITES = (
    Suite(
        "faltung.ndimage",
        "scipy.ndimage",
        (
            "ndimage/tests/test_filters.py",
            "ndimage/tests/test_morphology.py",
            "ndimage/tests/test_datatypes.py",
        ),
    ),
    Suite(
        "faltung.signal",
        "scipy.signal",
        ("signal/tests/test_signaltools.py", "signal/tests/test_upfirdn.py"),
    ),
)

# Tests that fail with our functions, and why. Names end as those of pytest do.
_MODES = "a footprint or a kernel with one mode an axis is refused there, and taken here"
_BYTES = (
    "SciPy writes 2 and 255 into an array of bool, and its test knows what NumPy makes of these"
)
EXPECTED: dict[str, str] = {
    "test_morphology.py::TestNdimageMorphology::test_white_tophat03[numpy]": _BYTES,
    "test_morphology.py::TestNdimageMorphology::test_black_tophat03[numpy]": _BYTES,
    "test_filters.py::TestNdimageFilters::test_correlate_mode_sequence[numpy]": _MODES,
    "test_filters.py::TestNdimageFilters::test_minimum_filter07[numpy]": _MODES,
    "test_filters.py::TestNdimageFilters::test_maximum_filter07[numpy]": _MODES,
}

# Tests of recursive filters, which are no convolutions and are refused, by class and name.
_SIZES = {"Float": ("32", "64", "Extended"), "Complex": ("64", "128", "Extended")}
_NUMBERS = ("float32", "float64", "complex64", "complex128")
_RECURSIVE = {
    **{
        f"TestLinearFilter{kind}": (
            *("rank_1_IIR", "rank_1_IIR_init_cond", "rank_3_IIR", "rank_3_IIR_init_cond"),
            *(f"rank_2_IIR_axis_{axis}{also}" for axis in "01" for also in ("", "_init_cond")),
            *("zi_pseudobroadcast", "short_x_IIR", "do_not_modify_a_b_IIR"),
            *("lfiltic[numpy-[1, 0.5, 1.5]]", "lfiltic[numpy-[2, 1, 3]]"),
        )
        for kind in (f"{of}{size}" for of in ("Float", "Complex") for size in _SIZES[of])
    },
    "TestDecimate": (
        *("basic_IIR", "shape", "phaseshift_IIR", "zero_phase_IIR", "long_float32"),
        *("float16_upcast[]", "complex_iir_dlti"),
    ),
    "TestSOSFilt": tuple(
        f"{name}[numpy-{number}]"
        for name in ("rank3", "initial_conditions", "initial_conditions_3d_axis1")
        for number in _NUMBERS
    ),
    "TestFiltFilt": ("basic", "sine", "axis", "gust_simple"),
    "TestSOSFiltFilt": ("equivalence",),
    "TestDeconvolve": ("array_like", "basic"),
    "TestCSpline1DEval": ("basic", "complex"),
    "": ("filtfilt_gust",),
}
for _class, _names in _RECURSIVE.items():
    for _name in _names:
        _full = _name if "[" in _name else f"{_name}[numpy]"
        _where = "::".join(filter(None, ("test_signaltools.py", _class, f"test_{_full}")))
        EXPECTED[_where.removesuffix("[]")] = "a recursive filter is no convolution, and is refused"

# For the process that runs a file: which suite, and where to write what was found.
VARIABLE = "FALTUNG_SCIPY_SUITE"


def folder() -> Path | None:
    """Where SciPy is installed; None without it, or without its tests."""
    spec = importlib.util.find_spec("scipy")
    if spec is None or not spec.submodule_search_locations:
        return None
    found = Path(next(iter(spec.submodule_search_locations)))
    return found if (found / SUITES[0].files[0]).exists() else None


def outcomes(
    suite: Suite, file: str, *options: str, first: int = 0, every: int = 1
) -> dict[str, str]:
    """For each test that called one of our functions "passed", or the first line of its error.
    Of the tests of the file are run those from number ``first`` on, one of ``every``.
    """
    home = folder()
    assert home is not None, "SciPy is not installed, or without its tests"
    with tempfile.TemporaryDirectory() as temporary:
        answer = Path(temporary, "found.json")
        asked = json.dumps([SUITES.index(suite), str(answer), first, every])
        here = str(Path(__file__).parent)
        paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, VARIABLE: asked, "PYTHONPATH": os.pathsep.join(paths)}
        command = [sys.executable, "-m", "pytest", "-q", "-x" if "-x" in options else "-q"]
        command += ["-p", "scipy_suite", "-p", "no:cacheprovider", "--import-mode=importlib"]
        command += [f"--rootdir={home}", f"--confcutdir={home}", "-c", os.devnull, str(home / file)]
        done = subprocess.run(
            [*command, *options], env=environment, cwd=temporary, capture_output=True, text=True
        )
        assert answer.exists(), done.stdout[-2000:] + done.stderr[-2000:]
        found: dict[str, str] = json.loads(answer.read_text("utf-8"))
    return found


# In the process of pytest, of which this file is a plug-in ----------------------------------------

_calls: Counter[str] = Counter()
_found: dict[str, str] = {}


def pytest_configure(config: Any) -> None:
    if VARIABLE in os.environ:
        number, *_ = json.loads(os.environ[VARIABLE])
        _replace(SUITES[number])


def _replace(suite: Suite) -> None:
    """Our functions under SciPy's names, also in the modules where SciPy's own code finds them."""
    ours, theirs = importlib.import_module(suite.ours), importlib.import_module(suite.theirs)
    from scipy._lib import _array_api

    table = getattr(_array_api, "xp_capabilities_table", {})
    modules = [m for name, m in list(sys.modules.items()) if name.startswith(suite.theirs)]
    for name in ours.__all__:
        old = getattr(theirs, name, None)
        if old is None:
            continue
        new = _counted(getattr(ours, name))
        if callable(old) and old in table:
            table[new] = table[old]
        for module in modules:
            if getattr(module, name, None) is old:
                setattr(module, name, new)


def _counted(function: Any) -> Any:
    """The function, which says that it was called."""

    @functools.wraps(function)
    def called(*args: Any, **named: Any) -> Any:
        _calls[function.__name__] += 1
        return function(*args, **named)

    return called


def pytest_collection_modifyitems(items: list[Any]) -> None:
    if VARIABLE in os.environ:
        *_, first, every = json.loads(os.environ[VARIABLE])
        items[:] = items[first::every]


def pytest_runtest_setup(item: Any) -> None:
    _calls.clear()


def pytest_runtest_makereport(item: Any, call: Any) -> None:
    """What became of a test that calls our functions."""
    if VARIABLE not in os.environ or call.when != "call" or not _calls:
        return
    name = item.nodeid.partition("/tests/")[2] or item.nodeid
    error = call.excinfo
    if error is None:
        _found[name] = "passed"
    elif error.typename not in ("Skipped", "XFailed"):
        _found[name] = f"{error.typename}: {' '.join(str(error.value).split())[:300]}"


def pytest_sessionfinish(session: Any) -> None:
    if VARIABLE in os.environ:
        _, answer, *_ = json.loads(os.environ[VARIABLE])
        Path(answer).write_text(json.dumps(_found), "utf-8")


# All of them --------------------------------------------------------------------------------------


def wrong(found: dict[str, str]) -> list[str]:
    """Tests that fail and should pass, and the other way round."""
    rows = [f"{name}: {what}" for name, what in found.items() if what != "passed"]
    rows = [row for row in rows if row.partition(": ")[0] not in EXPECTED]
    return rows + [f"{name}: passes" for name in EXPECTED if found.get(name) == "passed"]


def main(words: list[str]) -> int:
    """Run what the words name, and count."""
    if folder() is None:
        print("SciPy is not installed, or without its tests")
        return 1
    failed = 0
    for suite in SUITES:
        for file in suite.files:
            if words and not any(word in file for word in words):
                continue
            found = outcomes(suite, file)
            count = Counter(what == "passed" for what in found.values())
            print(f"{file}: {count[True]} passed, {count[False]} failed", flush=True)
            rows = wrong(found)
            failed += len(rows)
            for row in rows:
                print("   ", row)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
