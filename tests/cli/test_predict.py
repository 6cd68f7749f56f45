"""`faltung predict`: every kind of file, tables that read back, files that cannot be read."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from runs import Array, shapes

from faltung import Model
from faltung.cli import answering
from faltung.cli.main import main
from faltung.data.open import open_source
from faltung.train.run_model import load_model

Trained = Callable[[str], tuple[Path, str]]
Captured = pytest.CaptureFixture[str]


def predicted(capsys: Captured, *words: object, status: int = 0) -> str:
    capsys.readouterr()
    assert main(["predict", *map(str, words)]) == status
    return capsys.readouterr().out


def table(capsys: Captured, *words: object) -> tuple[list[str], list[list[str]]]:
    head, *lines = csv.reader(io.StringIO(predicted(capsys, *words, "--csv")))
    return head, lines


def picture(x: Array, path: Path) -> Path:
    """Values 0 to 1 (1, height, width) as a grey picture."""
    from PIL import Image

    Image.fromarray((255 * x[0]).round().astype(np.uint8)).save(path)
    return path


def samples(run: Path, data: str) -> tuple[Model, Array]:
    source = open_source(data)
    return load_model(run)[0], source.read(range(len(source)))


def test_pictures(trained: Trained, capsys: Captured, tmp_path: Path) -> None:
    run, data = trained("digits")
    model, x = samples(run, data)
    files = [picture(x[i], tmp_path / f"{i}.png") for i in range(3)]
    lines = predicted(capsys, run, *files).splitlines()
    assert len(lines) == 3
    for i, line in enumerate(lines):
        best = int(model.predict(x[i]).argmax())
        name, label, share, *more = line.split()
        assert (name, label) == (str(files[i]), str(best))
        assert share.endswith("%") and len(more) == 4
    head, rows = table(capsys, run, *files)
    assert head == ["file", "class", *map(str, range(10))]
    assert [row[0] for row in rows] == list(map(str, files))


@pytest.mark.parametrize("kind", ["digits", "series", "volumes", "text"])
def test_tables_read_back_to_the_last_bit(
    kind: str, trained: Trained, capsys: Captured, tmp_path: Path
) -> None:
    run, data = trained(kind)
    model, x = samples(run, data)
    np.save(tmp_path / "x.npy", x[:5])
    head, rows = table(capsys, run, tmp_path / "x.npy")
    assert model.classes is not None and head == ["file", "class", *model.classes]
    want = model.predict(x[:5])
    np.testing.assert_array_equal(np.array([row[2:] for row in rows], np.float32), want)
    assert [row[1] for row in rows] == [model.classes[i] for i in want.argmax(1)]
    assert [row[0] for row in rows] == [f"{tmp_path / 'x.npy'}[{i}]" for i in range(5)]


def test_numbers(trained: Trained, capsys: Captured) -> None:
    run, data = trained("numbers")
    model, x = samples(run, data)
    head, rows = table(capsys, run, data)
    assert head == ["file", "output0"]
    want = model.predict(x)
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], np.float32), want)
    first = predicted(capsys, run, data).splitlines()[0].split()
    assert float(first[1]) == pytest.approx(float(want[0, 0]), rel=1e-5)


def test_a_class_for_each_position(trained: Trained, capsys: Captured) -> None:
    run, data = trained("maps")
    model, x = samples(run, data)
    head, rows = table(capsys, run, data)
    assert head[:3] == ["file", "0 0", "0 1"] and len(head) == 1 + 16 * 16
    says = model.predict(x).argmax(1).reshape(len(x), -1)
    assert model.classes == ("dark", "bright")
    assert [row[1:] for row in rows] == [[model.classes[i] for i in each] for each in says]
    share = (says[0] == 0).mean()
    assert f"dark {share:.1%}" in predicted(capsys, run, data).splitlines()[0]


def test_lines_of_text_with_and_without_labels(
    trained: Trained, capsys: Captured, tmp_path: Path
) -> None:
    run, data = trained("series")
    model, x = samples(run, data)
    for first in ([], ["1"]):
        lines = [",".join([*first, *map(repr, map(float, each[0]))]) for each in x[:4]]
        (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
        _, rows = table(capsys, run, tmp_path / "x.csv")
        np.testing.assert_array_equal(
            np.array([row[2:] for row in rows], np.float32), model.predict(x[:4])
        )


def test_many_files_are_read_some_at_a_time(
    trained: Trained, capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data = trained("digits")
    _, x = samples(run, data)
    files = [picture(x[i], tmp_path / f"{i}.png") for i in range(7)]
    want = table(capsys, run, *files)
    monkeypatch.setattr(answering, "MAX_SAMPLES", 2)
    assert table(capsys, run, *files) == want


def test_files_that_cannot_be_read_are_named_and_the_others_read(
    trained: Trained, capsys: Captured, tmp_path: Path
) -> None:
    run, data = trained("digits")
    _, x = samples(run, data)
    good = picture(x[0], tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(good.read_bytes()[:40])
    np.save(tmp_path / "large.npy", np.ones((9, 9)))
    np.save(tmp_path / "nan.npy", np.full((8, 8), np.nan))
    evil = tmp_path / "\x1b[2J\nevil.png"
    evil.write_bytes(b"nothing")
    names = ("bad.png", "large.npy", "nan.npy", "none.png", evil.name)
    capsys.readouterr()
    files = [tmp_path / name for name in names]
    assert main(["predict", str(run), str(good), *map(str, files)]) == 1
    said = capsys.readouterr()
    assert said.out.startswith(f"{good}  ") and said.out.count("\n") == 1
    lines = said.err.splitlines()
    assert len(lines) == 5 and all(line.startswith("faltung predict: ") for line in lines)
    assert all(line.isprintable() for line in lines)
    for line, part in zip(
        lines, ("bad.png", "(9, 9)", "NaN", "no such file", "\\x1b[2J\\nevil"), strict=True
    ):
        assert part in line
    assert main(["predict", str(run), str(files[0])]) == 1


def test_what_is_no_run(capsys: Captured, tmp_path: Path) -> None:
    assert main(["predict", str(tmp_path), "x.png"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "config.toml" in said.err


# Mistakes that show themselves after reading ------------------------------------------------------


def answers(capsys: Captured, *words: object) -> tuple[list[str], list[str]]:
    """The names that were answered, and the lines on standard error; the status is 1."""
    capsys.readouterr()
    assert main(["predict", *map(str, words), "--csv"]) == 1
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if not line.startswith("note: ")]
    return [row[0] for row in csv.reader(io.StringIO(said.out))][1:], lines


def test_tokens_without_a_row_cost_no_other_answer(
    trained: Trained, capsys: Captured, tmp_path: Path
) -> None:
    run, data = trained("text")
    _, x = samples(run, data)
    bad = x[:3].copy()
    bad[1, 2] = 10**12
    every = np.full((300, 10), 99)
    for name, array in {"good": x[:2], "bad": bad, "every": every}.items():
        np.save(tmp_path / f"{name}.npy", array)
    good, bad_file, every_file = (tmp_path / f"{name}.npy" for name in ("good", "bad", "every"))
    names, lines = answers(capsys, run, good, bad_file, every_file, good)
    assert sorted(names) == sorted(
        [f"{good}[0]", f"{good}[1]"] * 2 + [f"{bad_file}[0]", f"{bad_file}[2]"]
    )
    assert lines[0].startswith(f"faltung predict: {bad_file}[1]: ")
    assert "1000000000000" in lines[0] and "must be a row of the table" in lines[0]
    assert lines[1].startswith(f"faltung predict: {every_file}[0]: ")
    assert lines[2].endswith(f"{every_file}: 299 more of its samples could not be answered")
    assert len(lines) == 3


def test_outputs_that_are_not_finite(
    trained: Trained, capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data = trained("digits")
    _, x = samples(run, data)
    plain = Model.outputs

    def outputs(self: Model, given: Array, **more: bool) -> Array:
        made = plain(self, given, **more)
        made[(given == x[1]).all((1, 2, 3))] = np.nan
        return made

    monkeypatch.setattr(Model, "outputs", outputs)
    np.save(tmp_path / "large.npy", x[:3])
    np.save(tmp_path / "good.npy", x[:1])
    names, lines = answers(capsys, run, tmp_path / "large.npy", tmp_path / "good.npy")
    file = tmp_path / "large.npy"
    assert names == [f"{file}[0]", f"{file}[2]", str(tmp_path / "good.npy")]
    assert len(lines) == 1 and lines[0].startswith(f"faltung predict: {file}[1]: ")


def test_too_little_memory_is_tried_with_less(
    trained: Trained, capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Halves that fit are answered; what does not fit by itself is named."""
    run, data = trained("digits")
    _, x = samples(run, data)
    np.save(tmp_path / "x.npy", x[:8])
    plain = Model.outputs

    def outputs(self: Model, x: Array, **more: bool) -> Array:
        if len(x) > 2 or (x == wanted).all((1, 2, 3)).any():
            raise MemoryError
        return plain(self, x, **more)

    wanted = x[5]
    monkeypatch.setattr(Model, "outputs", outputs)
    names, lines = answers(capsys, run, tmp_path / "x.npy")
    assert names == [f"{tmp_path / 'x.npy'}[{i}]" for i in (0, 1, 2, 3, 4, 6, 7)]
    assert lines == [f"faltung predict: {tmp_path / 'x.npy'}[5]: there is not enough memory"]


def test_a_bug_is_no_mistake_of_a_file(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data = trained("digits")
    _, x = samples(run, data)
    np.save(tmp_path / "x.npy", x[:2])

    def outputs(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Model, "outputs", outputs)
    with pytest.raises(ZeroDivisionError):
        main(["predict", str(run), str(tmp_path / "x.npy")])


def test_a_large_file_is_predicted_in_parts(
    trained: Trained, capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data = trained("digits")
    model, x = samples(run, data)
    np.save(tmp_path / "x.npy", x[:20])
    monkeypatch.setattr(answering, "MAX_SAMPLES", 6)
    most = []
    plain = Model.outputs

    def outputs(self: Model, x: Array, **more: bool) -> Array:
        most.append(len(x))
        return plain(self, x, **more)

    monkeypatch.setattr(Model, "outputs", outputs)
    _, rows = table(capsys, run, tmp_path / "x.npy")
    assert max(most) == 6
    np.testing.assert_array_equal(
        np.array([row[2:] for row in rows], np.float32), model.predict(x[:20])
    )


def test_the_arrays_that_were_chosen_for_training(tmp_path: Path, capsys: Captured) -> None:
    """They are in the run: nobody has to name them again, nor are others taken for them."""
    x, y = shapes(12)
    chosen, run = tmp_path / "a.npz", tmp_path / "run"
    np.savez(chosen, pics=x, labs=y, x=x[:6] * 0, y=y[:6])
    words = ["train", str(chosen), "--x=pics", "--y=labs", "--epochs=1", f"--out={run}"]
    assert main([*words, "--net=lenet5"]) == 0
    capsys.readouterr()
    assert main(["predict", str(run), str(chosen)]) == 0
    assert capsys.readouterr().out.count("\n") == 12
    assert main(["predict", str(run), str(chosen), "--x=x"]) == 0
    assert capsys.readouterr().out.count("\n") == 6
    for more, count in (([], 12), (["--x=x", "--y=y"], 6)):
        assert main(["evaluate", str(run), str(chosen), *more]) == 0
        assert f"samples   {count}\n" in capsys.readouterr().out


def test_what_a_file_is_instead(tmp_path: Path, capsys: Captured) -> None:
    x, y = shapes(12)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    run = tmp_path / "run"
    assert main(["train", str(tmp_path / "a.npz"), "--epochs=1", f"--out={run}"]) == 0
    capsys.readouterr()
    (tmp_path / "a.png").write_text("<!DOCTYPE html><html><body>404</body></html>")
    assert main(["predict", str(run), str(tmp_path / "a.png")]) == 1
    assert "; it is an HTML page, so the download failed\n" in capsys.readouterr().err
