"""Worker processes: started with the right environment, used one at a time, else stopped."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.peers import implementation
from benchmarks.protocol import LAYERS, Message, receive, send

ROOT = Path(__file__).resolve().parent.parent
STOPPABLE = hasattr(signal, "SIGSTOP")


def cores() -> list[int]:
    """Processors that this process may use: first one per core, then their siblings."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    allowed = sorted(os.sched_getaffinity(0))
    seen: set[str] = set()
    first: list[int] = []
    for cpu in allowed:
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        siblings = path.read_text() if path.exists() else str(cpu)
        if siblings not in seen:
            first.append(cpu)
        seen.add(siblings)
    return first + [cpu for cpu in allowed if cpu not in first]


class WorkerProcess:
    """The process of one peer. Between requests it is stopped (SIGSTOP).

    Thread pools that spin after their work (that of ONNX Runtime for more than a second) would slow
    down the next peer. ``environment``: variables besides those of the peer.
    """

    def __init__(
        self,
        name: str,
        threads: int,
        *,
        subject: str = LAYERS,
        environment: Mapping[str, str] | None = None,
        verbose: bool = False,
    ) -> None:
        self.name = name
        self.threads = threads
        self.subject = subject
        self.environment = dict(environment or {})
        self.verbose = verbose
        self.process: subprocess.Popen[bytes] | None = None
        self.pending = b""

    def start(self) -> Message:
        """Start the process, and return its answer to "hello"."""
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(ROOT), str(ROOT / "src"), environment.get("PYTHONPATH", "")]
        )
        environment |= implementation(self.name, self.subject).environment(self.threads)
        environment |= self.environment
        command = [sys.executable, "-m", "benchmarks.worker", self.subject, self.name]
        self.pending = b""
        with affinity(cores()[: self.threads]):  # inherited, so every peer has the same cores
            self.process = subprocess.Popen(
                [*command, "--threads", str(self.threads)],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if self.verbose else subprocess.DEVNULL,
                process_group=0,  # what a library forks is stopped and ended with its parent
            )
        return self.ask({"op": "hello"}, 120)

    def ask(self, request: Message, limit: float) -> Message:
        """The answer to ``request``; {"failed": why} after ``limit`` seconds or a crash."""
        if self.process is None:
            hello = self.start()
            if "version" not in hello:
                return hello
        assert self.process is not None and self.process.stdin is not None
        self._signal("SIGCONT")
        try:
            send(self.process.stdin, request)
            answer = self._receive(limit)
        except (BrokenPipeError, EOFError):
            code = self.process.wait()
            self.close()
            return {"failed": f"the process ended with code {code}"}
        except TimeoutError:
            self.close()
            return {"failed": f"no answer within {limit:.0f} s"}
        self._signal("SIGSTOP")
        return answer

    def _receive(self, limit: float) -> Message:
        assert self.process is not None and self.process.stdout is not None
        file = self.process.stdout.fileno()
        deadline = time.monotonic() + limit
        while b"\n" not in self.pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([file], [], [], left)[0]:
                raise TimeoutError
            read = os.read(file, 1 << 16)
            if not read:
                raise EOFError
            self.pending += read
        line, _, self.pending = self.pending.partition(b"\n")
        return receive(line)

    def _signal(self, name: str) -> None:
        if STOPPABLE and self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, getattr(signal, name))

    def close(self) -> None:
        """End the process (a stopped one as well), and what it started."""
        if self.process is not None:
            self._signal("SIGKILL")
            self.process.kill()
            self.process.wait()
            for stream in filter(None, (self.process.stdin, self.process.stdout)):
                with contextlib.suppress(OSError):
                    stream.close()
            self.process = None


@contextlib.contextmanager
def affinity(cpus: Sequence[int]) -> Iterator[None]:
    """Make processes that are started in the block run on these processors."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
