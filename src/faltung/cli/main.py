"""``faltung COMMAND ...``: the table of commands, and the program, which Ctrl-C may stop anywhere.

Exit status: 0 done; 1 done in part (``predict``: some files could not be answered; ``compress``:
nothing keeps the limits) or something is wrong (``doctor``); 2 refused; 130 interrupted; 141 nobody
reads our output any more.
"""

import sys

from faltung.cli import ending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


COMMANDS = {
    "train": "train a network, show its progress, and keep the run in a folder",
    "evaluate": "evaluate a trained network on other data",
    "predict": "predict the classes of files with a trained network",
    "look": "draw what a trained network sees in a file",
    "compress": "make a trained network smaller, and show what that costs",
    "bits": "show what a trained network is worth in bits",
    "ladder": "draw one mapping as matrix, convolution and smaller",
    "export": "export a trained network for other programs: ONNX, safetensors",
    "convert": "convert weights of torchvision or timm, or ONNX, to a model",
    "run": "run an ONNX model on an array or a picture",
    "profile": "show where the time of a network goes, step by step",
    "compare": "compare trained networks: settings, results, mistakes",
    "bench": "time a trained network, or an ONNX model beside other runtimes",
    "nets": "list the networks that come with faltung, and their papers",
    "summary": "show a network layer by layer: shapes, parameters, cost",
    "see": "write a page on which a convolution moves",
    "quiz": "ask and explain exercises about convolutions",
    "explain": "explain a convolution: what it costs, and how it would run",
    "doctor": "check what this computer can do, and report problems",
    "completion": "print a script that completes commands and options in a shell",
    "cache": "show the compiled code kept on disk, or clear it",
}


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run one command and return its exit status; ``argv`` is by default what the user typed."""
    try:
        words = list(sys.argv[1:] if argv is None else argv)
        ending.begin(argv is None or (bool(words) and words == sys.argv[1:]))
        from faltung.cli.commands import run

        return run(words, COMMANDS)
    except KeyboardInterrupt:
        return ending.stopped()
    finally:
        ending.finish()


if __name__ == "__main__":
    sys.exit(main())
