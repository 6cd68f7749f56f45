"""Quantised networks beside float32: the table of both, and files that are missing."""

from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import row, small_run

from benchmarks import quantised
from benchmarks.file_problem import LIMIT, LIMIT_8_BITS, FileProblem
from benchmarks.protocol import FILE, ONNX


def test_both_forms_of_a_network_are_compared() -> None:
    rows = [
        row("net", "n1", direction=FILE, faltung=4_000, onnxruntime=6_000),
        row("net.int8", "n1", direction=FILE, faltung=2_000, onnxruntime=3_000),
        row("alone", "n1", direction=FILE, faltung=1_000, onnxruntime=1_000),
    ]
    versions = dict.fromkeys(quantised.PEERS, "1")
    run = replace(small_run(), subject=ONNX, rows=rows, versions=versions)
    text = quantised.compared(run)
    assert "| net | 2.00 | 4.00 | 3.00 | 6.00 | 1.50 | 2.00 |" in text and "alone" not in text
    assert quantised.page_of(run).startswith(quantised.TITLE)


def test_answers_in_8_bits_may_be_steps_apart() -> None:
    limits = [FileProblem(f"{name}.onnx | x=1x3").limit for name in ("net", "net.int8")]
    assert limits == [LIMIT, LIMIT_8_BITS]


def test_missing_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        quantised.main([str(tmp_path), "resnet50"])
    assert "lacks tv_resnet50.onnx, tv_resnet50.int8.onnx; --export" in capsys.readouterr().err
