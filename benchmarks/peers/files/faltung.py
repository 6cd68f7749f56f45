"""Faltung: a file loaded and called as a user does."""

from benchmarks.file_problem import FileProblem
from benchmarks.peers import Task
from benchmarks.peers import faltung as layers
from benchmarks.peers.files import task

environment = layers.environment
_threads = 1


def start(threads: int) -> str:
    global _threads
    _threads = threads
    return layers.start(threads)


def build(problem: FileProblem, variant: str) -> Task:
    return task("faltung", problem, _threads)
