"""Makes the picture of the README: a photograph with its answers.

    python -m tests.pictures --photograph=astronaut.png

The photograph is NASA's portrait of Eileen Collins (public domain), as scikit-image ships it.
"""

import argparse
from pathlib import Path

import cv2

from ageflax.data import images
from ageflax.predict import Predictor
from ageflax.predict.annotation import annotated

PICTURE = Path(__file__).parent / "photograph.jpg"


def photograph(path: Path) -> None:
    """Draws the answers of the package's model on a photograph."""
    image = images.decode(path.read_bytes())
    drawn = annotated(image, Predictor().faces(image))
    written = cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(PICTURE), written, [cv2.IMWRITE_JPEG_QUALITY, 80])


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="tests.pictures", description=__doc__)
    parser.add_argument("--photograph", type=Path, required=True)
    photograph(parser.parse_args().photograph)


if __name__ == "__main__":
    main()
