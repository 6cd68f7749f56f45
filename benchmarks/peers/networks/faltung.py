"""Faltung: `Inference` as `Model.predict` runs it, `TrainingStep` as `Model.fit` does."""

from itertools import count
from typing import Any

from benchmarks.network_problem import MOMENTUM, NetworkProblem
from benchmarks.peers import Task, library
from benchmarks.peers import faltung as layers
from benchmarks.peers.networks.losses import training_task
from benchmarks.protocol import INFERENCE

environment = layers.environment
PROGRAMS = "faltung.program.inference", "faltung.program.training", "faltung.program.optimizer"


def start(threads: int) -> str:
    for name in PROGRAMS:  # importing is no part of compiling
        library(name)
    return layers.start(threads)


def build(problem: NetworkProblem, variant: str) -> Task:
    if problem.direction == INFERENCE:
        return _inference(problem, bound=variant == "bound")
    return _step(problem)


def _inference(problem: NetworkProblem, bound: bool) -> Task:
    graph = problem.spec.graph()
    state = _state(graph, problem)
    program = library("faltung.program.inference").Inference(graph, state, problem.spec.batch)
    x = problem.x
    if not bound:
        return Task(lambda: program(x), lambda: program(x))
    program.feed(x)

    def array() -> Any:
        program.feed(x)  # its memory may have served for something else since
        program.run()
        return program.result()

    return Task(program.run, array)


def _step(problem: NetworkProblem) -> Task:
    training = library("faltung.program.training")
    graph = problem.spec.graph(training=True)
    state = _state(graph, problem)
    slots = training.Slots(state, library("faltung.program.optimizer").SGD(MOMENTUM))
    derived = library("faltung.graph.differentiate").differentiate(graph)
    step = training.TrainingStep(derived, state, slots, problem.spec.batch)
    x, labels, lr, number = problem.x, problem.labels, problem.spec.lr, count()

    def once() -> float:
        loss: float = step(x, labels, lr=lr, step=next(number))[0]
        return loss

    return training_task(once)


def _state(graph: Any, problem: NetworkProblem) -> Any:
    state = library("faltung.program.state").State(graph.parameters, graph.dtype)
    state.update(problem.parameters)
    return state
