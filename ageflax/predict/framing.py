"""Measures how a dataset's images frame the face, for prediction to cut faces out alike.

    python -m ageflax.predict.framing --data.name=labeled_faces/faces

prints the config keys to train with, data.crop_margin and data.eyes.
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterable, Sequence

import numpy as np

from ageflax.runtime import command_line

_EPILOG = """\
Prints medians over the faces that YuNet or MTCNN finds, and their spread (half of the 16th to 84th
percentile). If the eyes spread by more than about 0.05, the images are not aligned: leave data.eyes=()
unless faces should be cut out as the average image is. Haar is refused because it does not locate eyes.
Exit codes: 0 done, 2 bad input, 1 failed run, 130 interrupted."""
# Longest side, in pixels, at which an image is searched for the face that fills most of it.
_SIDE = 640
# Padding, as a share of the longer side: detectors miss a face that fills its image.
_AROUND = 0.25


@dataclasses.dataclass(frozen=True)
class Measured:
    """Framing of a dataset's images: medians over their faces, and spreads.

    Attributes:
      images: number of images examined.
      faces: number of faces found, at most one per image.
      margin: see Framing.margin.
      margin_spread: spread of the margin.
      eyes: float[4], x and y of the eye on the left, then of the eye on the right.
      eyes_spread: float[4], spread of each.
      centre: float[2], x and y of the middle of the detector's box.
    """

    images: int
    faces: int
    margin: float
    margin_spread: float
    eyes: np.ndarray
    eyes_spread: np.ndarray
    centre: np.ndarray

    def lines(self) -> list[str]:
        """Lines for the user; the first is for a command line."""
        xl, yl, xr, yr = (round(float(value), 3) for value in self.eyes)
        return [
            f"--config.data.crop_margin={self.margin:.3f}"
            f' --config.data.eyes="(({xl}, {yl}), ({xr}, {yr}))"',
            f"{self.faces} faces in {self.images} images; margin +- {self.margin_spread:.3f}, eyes"
            f" +- {self.eyes_spread.max():.3f}",
        ]


def measure(contents: Iterable[bytes | np.ndarray], *, detector: str = "auto") -> Measured:
    """Measures the largest face of each image.

    Args:
      contents: bytes of each image, or uint8[h, w, 3], RGB; unreadable ones are skipped.
      detector: auto, yunet, its file, or mtcnn.

    Raises:
      InputError: the detector is unavailable or does not locate eyes, or no image has a face.
    """
    import cv2

    from ageflax.data import images
    from ageflax.errors import InputError
    from ageflax.predict.detectors import Mtcnn, YuNet, open_detector
    from ageflax.predict.detectors.detection import scaled
    from ageflax.runtime.progress import say

    finder = open_detector(detector, say=say)
    if not isinstance(finder, (YuNet, Mtcnn)):
        raise InputError(f"--detector={detector}: does not locate eyes; use yunet or mtcnn")
    looked, measured = 0, []
    for content in contents:
        try:
            if isinstance(content, np.ndarray):
                image = content
            else:
                image = images.decode(content, at_least=_SIDE)
        except images.BadImageError:
            continue
        image = scaled(image, min(_SIDE / max(image.shape[:2]), 1.0))
        looked += 1
        height, width = image.shape[:2]
        around = round(_AROUND * max(height, width))
        padded = cv2.copyMakeBorder(image, around, around, around, around, cv2.BORDER_REPLICATE)
        found = finder(padded)
        if not found:
            continue
        best = max(found, key=lambda one: one.box[2] * one.box[3])
        assert best.eyes is not None  # since both detectors locate them
        margin = (max(height, width) / max(best.box[2:]) - 1) / 2
        middle = np.array(best.box[:2]) + np.array(best.box[2:]) / 2
        points = (np.array([*best.eyes, middle]) - around) / (width, height)
        measured.append([margin, *points.ravel()])
    if not measured:
        raise InputError(f"no face found in {looked} images")
    low, middle, high = np.percentile(measured, (15.87, 50, 84.13), axis=0)
    spread = (high - low) / 2
    return Measured(
        images=looked,
        faces=len(measured),
        margin=float(middle[0]),
        margin_spread=float(spread[0]),
        eyes=middle[1:5],
        eyes_spread=spread[1:5],
        centre=middle[5:],
    )


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser("ageflax.predict.framing", __doc__, _EPILOG)
    add = parser.add_argument
    add("--data.name", dest="name", metavar="NAME", required=True, help="dataset, builder[/config]")
    add("--data.dir", dest="directory", metavar="DIR", type=command_line.name_or_path, default="",
        help="folder of built datasets")  # fmt: skip
    add("--faces", metavar="N", type=command_line.whole_number(1, 10**9), default=1000,
        help="images to measure (default: 1000)")  # fmt: skip
    add("--detector", metavar="DETECTOR", type=command_line.name_or_path, default="auto",
        help="auto, yunet, its .onnx file, or mtcnn (default: auto)")  # fmt: skip
    return parser


def _run(options: argparse.Namespace) -> None:
    # Imported late: --help should not wait for TFDS.
    from ageflax.data.building import find
    from ageflax.runtime.progress import Progress, say

    dataset = find.open_built(options.name, directory=options.directory)
    count = min(options.faces, len(dataset))
    # Spread over the dataset, which may be sorted by subject.
    rows = np.linspace(0, len(dataset) - 1, count).astype(int).tolist()
    with Progress(count, unit="face", label="measuring") as progress:

        def contents() -> Iterable[bytes]:
            for row in rows:
                yield dataset.examples([row])[0]["image"]
                progress.update()

        found = measure(contents(), detector=options.detector)
    first, *others = found.lines()
    print(first)
    for line in others:
        say(line)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    return command_line.run("ageflax.predict.framing", lambda: _run(options))


if __name__ == "__main__":
    sys.exit(main())
