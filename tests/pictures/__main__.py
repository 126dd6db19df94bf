"""Makes the pictures of the READMEs: a photograph with its answers, and pages as a browser shows them.

    python -m tests.pictures --photograph=astronaut.png
    python -m tests.pictures --browser=chromium --report=runs/quickstart/report.html

The photograph is NASA's portrait of Eileen Collins (public domain), as scikit-image ships it.
"""

import argparse
import subprocess
from pathlib import Path

import cv2

from ageflax.data import images
from ageflax.predict import Predictor
from ageflax.predict.annotation import annotated

FOLDER = Path(__file__).parent
_SIZE = (1000, 760)


def photograph(path: Path) -> None:
    """Draws the answers of the package's model on a photograph."""
    image = images.decode(path.read_bytes())
    drawn = annotated(image, Predictor().faces(image))
    written = cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(FOLDER / "photograph.jpg"), written, [cv2.IMWRITE_JPEG_QUALITY, 80])


def page(browser: str, path: Path) -> None:
    """Takes a picture of the beginning of a page."""
    picture = FOLDER / f"{path.stem}.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    size = f"--window-size={_SIZE[0]},{_SIZE[1]}"
    command = [browser, *options, size, f"--screenshot={picture}", path.resolve().as_uri()]
    subprocess.run(command, check=True)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="tests.pictures", description=__doc__)
    parser.add_argument("--photograph", type=Path)
    parser.add_argument("--browser", default="chromium")
    parser.add_argument("--report", type=Path, help="a run's or a comparison's page")
    options = parser.parse_args()
    if options.photograph:
        photograph(options.photograph)
    if options.report:
        page(options.browser, options.report)


if __name__ == "__main__":
    main()
