"""Serves a page that predicts age and gender: python -m ageflax.demo."""

import argparse
import importlib.util
import math
import sys
from collections.abc import Callable, Sequence

from ageflax.runtime import command_line, memory
from ageflax.weights import shipped

_EPILOG = """\
The page takes photographs, by file, drop, paste or camera, and a camera's stream; it shows each face
with age, group and gender, the probabilities of all classes, and the model card. POST /faces returns the
objects that python -m ageflax.predict prints; /openapi.json describes it:

  curl --data-binary @photo.jpg http://127.0.0.1:7860/faces

Pictures stay in memory while they are processed; nothing of them is written or logged. Only this machine
can reach the page unless --host says otherwise. DETECTOR is that of python -m ageflax.predict.
Needs the extra: pip install "ageflax[demo]"
Exit codes: 2 bad arguments, 1 failed, 130 ended by Ctrl-C."""

_PACKAGES = ("markdown_it", "python_multipart", "starlette", "uvicorn")


def _number(low: float, high: float) -> Callable[[str], float]:
    """Makes an argparse type: a number from `low` to `high`."""

    def number(text: str) -> float:
        value = float(text)
        if not (math.isfinite(value) and low <= value <= high):
            raise argparse.ArgumentTypeError(f"{text}: expected {low:g} to {high:g}")
        return value

    return number


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser("ageflax.demo", __doc__, _EPILOG)
    add = parser.add_argument
    add("--model", metavar="MODEL", type=command_line.name_or_path, default=shipped.NAME,
        help="bundle, fold or run, .onnx file, or hf://owner/name (default: built in)")  # fmt: skip
    add("--detector", metavar="DETECTOR", type=command_line.name_or_path, default="auto",
        help="auto, yunet, mtcnn, haar, none or a file")  # fmt: skip
    add("--host", metavar="ADDRESS", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    add("--port", metavar="PORT", type=command_line.whole_number(0, 65535), default=7860,
        help="port to listen on (default: 7860; 0 takes any free one)")  # fmt: skip
    add("--name", metavar="HOST", action="append", default=[],
        help="accepted host name, besides localhost and addresses; repeatable")  # fmt: skip
    add("--max_megabytes", metavar="MB", type=_number(0.001, 1000.0), default=16.0,
        help="largest request (default: 16)")  # fmt: skip
    add("--max_megapixels", metavar="MP", type=_number(0.001, 64.0), default=50.0,
        help="largest picture, or pictures of one request together (default: 50)")  # fmt: skip
    return parser


def _run(options: argparse.Namespace) -> None:
    from ageflax.errors import InputError

    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f'{", ".join(missing)} not installed: pip install "ageflax[demo]", or uv run --extra demo'
        )
    # Imported late: --help should not wait for JAX.
    from ageflax.demo import serving

    serving.run(options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    return command_line.run("ageflax.demo", lambda: _run(options), interrupted="ended")


if __name__ == "__main__":
    memory.keep_freed()
    sys.exit(main())
