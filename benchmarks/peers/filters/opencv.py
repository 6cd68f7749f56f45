"""OpenCV, for pictures: its own threads, and SciPy's borders."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.filter_problem import FilterProblem
from benchmarks.peers import Task, Unable, library, openmp

environment = openmp


def start(threads: int) -> str:
    cv2 = library("cv2")
    cv2.setNumThreads(threads)
    return str(cv2.__version__)


def build(problem: FilterProblem, variant: str) -> Task:
    if problem.dask or len(problem.shape) != 2:
        raise Unable("pictures in memory alone")
    run = _call(problem)
    return Task(run, lambda: problem.compared(run()))


def _call(problem: FilterProblem) -> Callable[[], Any]:
    cv2, x = library("cv2"), problem.x
    border = {"borderType": cv2.BORDER_REFLECT}
    match problem.function:
        case "gaussian_filter":
            sigma = problem.whole("sigma")
            taps = 2 * int(4 * sigma + 0.5) + 1
            return partial(cv2.GaussianBlur, x, (taps, taps), sigma, sigmaY=sigma, **border)
        case "correlate":
            return partial(cv2.filter2D, x, -1, problem.kernel, **border)
        case "sobel":
            return partial(cv2.Sobel, x, -1, 1, 0, ksize=3, **border)
        case "laplace":
            return partial(cv2.Laplacian, x, -1, ksize=1, **border)
        case "uniform_filter":
            size = problem.whole("size")
            return partial(cv2.blur, x, (size, size), **border)
        case "maximum_filter":
            size = problem.whole("size")
            return partial(cv2.dilate, x, np.ones((size, size), np.uint8), **border)
        case _:
            raise Unable("no such function")
