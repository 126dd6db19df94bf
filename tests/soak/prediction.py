"""Predicts photographs and videos without end, and checks that nothing grows.

    python -m tests.soak.prediction --minutes=60

A folder with drawn people, a clip of them and a damaged file is predicted repeatedly with the parts of the
predict command: found, read, detected, cropped, predicted, tracked. Exit code 1 if memory, open files or
threads are not flat after the warm-up.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from ageflax.predict import sources
from ageflax.predict.frames import Frame
from ageflax.predict.predictor import Predictor
from ageflax.predict.tracking import followed
from ageflax.runtime import command_line
from tests.predict import drawn_models
from tests.soak import flat
from tfds_builders.synthetic_faces import drawing, population


def _draw(folder: Path) -> None:
    """Draws three photographs, a clip of thirty frames, and a truncated file."""
    folder.mkdir()
    people = {subject.number: subject for subject in population.populate(40, 0)}
    photos = [drawing.photograph(people[k], 0, size=256, seed=0) for k in (0, 2, 4)]
    for number, content in enumerate(photos):
        (folder / f"photo_{number}.jpg").write_bytes(content)
    (folder / "damaged.jpg").write_bytes(photos[0][:300])
    face = cv2.imdecode(np.frombuffer(photos[0], np.uint8), cv2.IMREAD_COLOR)
    assert face is not None
    size = (384, 256)
    writer = cv2.VideoWriter(str(folder / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, size)
    for number in range(30):
        scene = np.full((256, 384, 3), 200, np.uint8)
        scene[:, 2 * number : 2 * number + 256] = face
        writer.write(scene)
    writer.release()


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument(
        "--allowed", type=float, default=flat.ALLOWED, help="allowed growth, a share"
    )
    words = parser.parse_args(arguments)
    command_line.collect_rarely()  # as commands do
    seconds = 60 * words.minutes
    samples: list[flat.Sample] = []
    faces = frames = failures = 0
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        _draw(pictures)
        predictor = Predictor(drawn_models.write(Path(folder) / "bundle"), detector="haar")
        deadline = time.monotonic() + seconds

        def endless() -> Generator[Frame, None, None]:
            while time.monotonic() < deadline:
                yield from sources.frames(sources.find([str(pictures)]), 1)

        every = max(seconds / 400, 0.2)
        with (
            flat.watched(lambda: frames, Path(folder), every=every, sample=samples.append),
            closing(predictor.stream(endless())) as stream,
        ):
            for seen in followed(stream, 0.8):
                frames, faces = frames + 1, faces + len(seen.faces)
                failures += seen.failure is not None
    print(f"{frames} images, {faces} faces, {failures} damaged files")
    return flat.report(samples, allowed=words.allowed)


if __name__ == "__main__":
    sys.exit(main())
