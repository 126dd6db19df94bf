"""Predicts age and gender of faces: python -m ageflax.predict *.jpg."""

import argparse
import os
import sys
from collections.abc import Sequence

from ageflax.config import CROPS
from ageflax.runtime import command_line, memory
from ageflax.weights import shipped

_EPILOG = """\
PATH is a photograph, a folder (and all below it), a glob, a video, or - for one image's bytes on
standard input. Prints one JSON object per face and line: source, frame (in a video, from 0), box [x, y,
width, height] in pixels of the upright image, detection_score, age_group and gender with the
probabilities of every class, age in years, age_interval, the years between which it lies, quality of
the picture, 0 to 1, and its reason (blurred, small, dark, overexposed, grainy, turned, unusual), as far
as the model has them; in a video also seconds from its start, track, the person's number, and
smoothing, how predictions are averaged along the track.

DETECTOR is yunet, from the Hugging Face hub with its checksum verified or from AGEFLAX_YUNET=FILE;
mtcnn, from an installed package; haar, included in OpenCV, for frontal faces; none, if the images are
faces already; a file, YuNet's .onnx or a cascade's .xml; auto, the first of yunet, mtcnn and haar that
is available, with a message if that is not yunet.

Each input that cannot be read is named on standard error with the reason; the others are processed.
Exit codes: 0 everything was read, 1 something was not, or the run failed, 2 nothing was, or bad
arguments, 130 interrupted."""


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser("ageflax.predict", __doc__, _EPILOG)
    add = parser.add_argument
    add("paths", metavar="PATH", nargs="*", type=os.path.expanduser,
        help="photographs, folders, globs, videos, or -")  # fmt: skip
    add("--model", metavar="MODEL", type=command_line.name_or_path, default=shipped.NAME,
        help="bundle, fold or run, .onnx file, or hf://owner/name (default: built in)")  # fmt: skip
    add("--engine", choices=("auto", "jax", "onnxruntime"), default="auto",
        help="runs the model (default: onnxruntime on a CPU where installed, else JAX)")  # fmt: skip
    add("--webcam", metavar="INDEX", nargs="?", const=0, type=command_line.whole_number(0, 99),
        help="number of a camera to read (default: 0)")  # fmt: skip
    add("--detector", metavar="DETECTOR", type=command_line.name_or_path, default="auto",
        help="auto, yunet, mtcnn, haar, none or a file")  # fmt: skip
    add("--min_score", metavar="S", type=command_line.share, default=0.7,
        help="lowest score of YuNet's or MTCNN's detections (default: 0.7)")  # fmt: skip
    add("--min_quality", metavar="Q", type=command_line.share, default=0.0,
        help="lowest quality of a face's picture, 0 to 1; others are left out and counted")  # fmt: skip
    add("--crops", choices=CROPS,
        help="views of a face, averaged (default: the model's)")  # fmt: skip
    add("--calibrated", action="store_true",
        help="probabilities scaled by the model's temperatures")  # fmt: skip
    add("--interval", metavar="LEVEL", type=command_line.share, default=0.8,
        help="share of people whose age the interval is to contain (default: 0.8; 0: none)")  # fmt: skip
    add("--under", metavar="AGE", type=command_line.whole_numbers(1, 100), default=(),
        help="age, or ages such as 18,21, to tell the probability of being under")  # fmt: skip
    add("--every", metavar="N", type=command_line.whole_number(1, 10**6), default=1,
        help="step between a video's frames that are read (default: 1)")  # fmt: skip
    add("--smooth", metavar="ALPHA", type=command_line.share, default=0.8,
        help="exponential smoothing along a track, 0 to 1 (default: 0.8; 0 disables)")  # fmt: skip
    add(
        "--annotate",
        metavar="DIR",
        type=command_line.path,
        help="folder for copies with boxes and predictions",
    )
    add("--format", choices=("jsonl", "json", "csv"), default="jsonl",
        help="lines of JSON, one JSON array, or a table (default: jsonl)")  # fmt: skip
    add("--blank", action="store_true",
        help="a record also for each image without a face, or that cannot be read")  # fmt: skip
    add("--csv", metavar="FILE", type=command_line.path, help="table of the faces to write as well")
    add("--features", metavar="FILE.npz", type=command_line.path,
        help="file for the model's features of each face, in the order of the lines")  # fmt: skip
    return parser


def _run(options: argparse.Namespace) -> None:
    from ageflax.errors import InputError

    if bool(options.paths) == (options.webcam is not None):
        raise InputError("PATH: needed, or --webcam, and not both")
    # Imported late: --help should not wait for JAX.
    from ageflax.predict import command

    command.run(options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    return command_line.run("ageflax.predict", lambda: _run(options))


if __name__ == "__main__":
    memory.keep_freed()
    sys.exit(main())
