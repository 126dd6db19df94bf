"""Says age and gender of every face: python -m ageflax.predict --model=runs/quickstart/fold_0 *.jpg."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

_EPILOG = """\
PATH is a photograph, a folder (with all below it), a glob, a video, or - for the bytes of one image on
standard input. Prints a JSON object a face, a line each: source, frame (of a video, from 0), box [x, y,
width, height] in pixels of the upright image, detection_score, age_group and gender with the
probabilities of every class, age in years; of a video also track, the number of the person, and
smoothing, how answers are averaged along it.

DETECTOR: yunet, by its name on the Hugging Face hub and checked by its checksum, or AGEFLAX_YUNET=FILE;
haar, which comes with OpenCV and sees frontal faces; none, where images are faces already; a file,
YuNet's .onnx or a cascade's .xml; auto is yunet and, where that cannot be had, haar, which it says.

What cannot be read is named on standard error with the reason, and the rest goes on.
Exit codes: 0 all was read, 1 something was not, or the run failed, 2 nothing was or bad arguments,
130 interrupted."""


def _whole(low: int, high: int) -> Callable[[str], int]:
    """A type for argparse: a whole number within bounds."""

    def number(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value}: expected {low} to {high}")
        return value

    return number


def _share(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError(f"{text}: expected 0 or more, and less than 1")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ageflax.predict",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("paths", metavar="PATH", nargs="*", help="photographs, folders, globs, videos, or -")
    add("--model", metavar="MODEL", help="a bundle, fold or run, an .onnx, or hf://owner/name")
    add("--webcam", metavar="INDEX", nargs="?", const=0, type=_whole(0, 99), help="a camera (0)")
    add("--detector", metavar="DETECTOR", default="auto", help="auto, yunet, haar, none or a file")
    add("--min_score", metavar="S", type=_share, default=0.7, help="least score of YuNet (0.7)")
    add("--crops", choices=("center", "mirror", "ten"), help="views of a face (the model's own)")
    add("--calibrated", action="store_true", help="probabilities by the model's own temperatures")
    add("--every", metavar="N", type=_whole(1, 10**6), default=1, help="each N-th frame of videos")
    add("--smooth", metavar="SHARE", type=_share, default=0.8,
        help="along a track, what a look weighs of what the next one does (0.8; 0 is off)")  # fmt: skip
    add("--annotate", metavar="DIR", type=Path, help="write copies with boxes and answers there")
    add("--csv", metavar="FILE", type=Path, help="write a table of the faces, too")
    return parser


def _run(options: argparse.Namespace) -> None:
    from ageflax.errors import InputError
    from ageflax.runtime import command_line

    if options.model is None:
        raise InputError(command_line.NO_MODEL)
    if bool(options.paths) == (options.webcam is not None):
        raise InputError("name what to look at: PATH..., or --webcam and no PATH")
    # Imported late: --help should not wait for JAX.
    from ageflax.predict import command

    command.run(options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    from ageflax.runtime import command_line

    words = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(words)
    return command_line.run("ageflax.predict", lambda: _run(options))


if __name__ == "__main__":
    sys.exit(main())
