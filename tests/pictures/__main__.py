"""Makes the pictures of the READMEs: an annotated photograph, and parts of the pages in a browser.

    uv run --extra demo --with playwright python -m tests.pictures --photograph=astronaut.png

The photograph is NASA's portrait of Eileen Collins (public domain), as scikit-image ships it. The pages
are of runs of the quickstart, whose faces are drawn: it trains two of them, about three minutes; later
calls keep them. The browser is a Chromium, from PATH or --browser=FILE. Needs the extra `demo`.
"""

import argparse
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
from PIL import Image

from ageflax.data import images
from ageflax.predict import Predictor
from ageflax.predict.annotation import annotated
from tests.pictures import FOLDER, MADE_FROM, digest

ROOT = Path(__file__).parents[2]
_WIDTH = 1000  # pixels


def _photograph(path: Path) -> None:
    """Draws the answers of the package's model on a photograph."""
    image = images.decode(path.read_bytes())
    drawn = annotated(image, Predictor().faces(image))
    written = cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(FOLDER / "photograph.jpg"), written, [cv2.IMWRITE_JPEG_QUALITY, 80])


def _run(module: str, *words: str) -> None:
    subprocess.run([sys.executable, "-m", module, *words], cwd=ROOT, check=True)


def _pages(workdir: Path) -> tuple[Path, Path]:
    """Trains the quickstart, and for half as long; gives the report and the comparison of both."""
    whole, half, page = workdir / "quickstart", workdir / "half_as_long", workdir / "compared.html"
    for run, *more in ((whole,), (half, "--config.epochs=8")):
        _run("ageflax.main", "--config=quickstart", f"--workdir={run}", *more)
    _run("ageflax.compare", str(whole), str(half), f"--output={page}")
    return whole / "report.html", page


def _save(name: str, page: Any, top: float, bottom: float, *, faces: bool = False) -> None:
    """Saves the part of a page between two heights; without faces in 256 colours."""
    part = {"x": 0, "y": top, "width": _WIDTH, "height": bottom - top}
    shot = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=part))).convert("RGB")
    if faces:
        shot.save(FOLDER / name, quality=70, method=6)
    else:
        shot.quantize(256).convert("RGB").save(FOLDER / name, lossless=True, quality=100, method=6)


def _heading(page: Any, name: str) -> float:
    """Height of a heading's upper edge."""
    return page.get_by_role("heading", name=name, exact=True).bounding_box()["y"]


def _reports(open_page: Callable[[str], Any], workdir: Path) -> None:
    report, comparison = _pages(workdir)
    page = open_page(report.as_uri())
    _save("report.webp", page, 0, _heading(page, "Confusion"))
    last = page.locator(".wall figure").nth(11).bounding_box()
    end = last["y"] + last["height"] + 16
    _save("faces.webp", page, _heading(page, "Worst mistakes"), end, faces=True)
    page = open_page(comparison.as_uri())
    _save("comparison.webp", page, 0, _heading(page, "Runs"))


def _demo(open_page: Callable[[str], Any], photograph: Path) -> None:
    from tests.demo.served import serve

    with serve(Predictor()) as server:
        page = open_page(f"http://{server.host}/")
        page.set_input_files("#file", photograph)
        page.wait_for_selector("#answer:visible")
        _save("demo.webp", page, 0, page.locator(".limits").bounding_box()["y"] - 4, faces=True)


def _browser(given: Path | None) -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = given or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        sys.exit("tests.pictures: no Chromium on PATH; install one, or name it by --browser=FILE")
    return str(found)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.pictures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--photograph", type=Path, required=True, help="photograph of a face")
    add("--browser", type=Path, help="Chromium to take the pictures with (default: from PATH)")
    add("--workdir", type=Path, default=ROOT / "build" / "pictures", help="folder of the runs")
    options = parser.parse_args()
    # Imported late: the tests' environment, which reads the help, has no browser.
    from playwright.sync_api import sync_playwright  # pyright: ignore[reportMissingImports]

    _photograph(options.photograph)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=_browser(options.browser), args=["--no-sandbox"]
        )

        def open_page(address: str) -> Any:
            page = browser.new_page(viewport={"width": _WIDTH, "height": 800})
            page.goto(address)
            return page

        _reports(open_page, options.workdir)
        _demo(open_page, options.photograph)
        browser.close()
    made = {name: digest(name) for name in MADE_FROM}
    (FOLDER / "made_from.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
