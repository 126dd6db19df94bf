"""What the command does: sources in, lines, tables and annotated copies out, failures counted."""

import argparse
import collections
import os
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, closing
from pathlib import Path

from tqdm import tqdm

from ageflax.errors import InputError, RunError
from ageflax.predict import sources, tracking, video
from ageflax.predict.frames import Frame, Seen, workers_here
from ageflax.predict.sources import Source
from ageflax.runtime.progress import Progress, say


def _print(seen: Seen) -> None:
    for face in seen.faces:
        # Above any progress bar, where both go to one terminal.
        if sys.stdout.isatty():
            tqdm.write(face.to_json(), file=sys.stdout)
        else:
            print(face.to_json())
    sys.stdout.flush()


class _Tally:
    """What was seen, what was not and why."""

    def __init__(self) -> None:
        self.frames = self.faces = self.empty = 0
        self.failures: collections.Counter[str] = collections.Counter()
        self._started = time.monotonic()

    def add(self, seen: Seen) -> None:
        if seen.failure is not None:
            self.failures[seen.failure] += 1
            say(f"{_printable(seen.frame.source)}: {seen.failure}")
            return
        self.frames += 1
        self.faces += len(seen.faces)
        self.empty += not seen.faces

    def finish(self) -> None:
        """Says what was done.

        Raises:
          InputError: nothing could be read.
          RunError: something could not.
        """
        failed = self.failures.total()
        if not self.frames:
            raise InputError("nothing could be read" if failed else "the camera gave no frame")
        seconds = max(time.monotonic() - self._started, 1e-9)
        images = f"{self.frames} image{'s' * (self.frames != 1)}"
        faces = f"{self.faces} face{'s' * (self.faces != 1)}"
        nobody = f", {self.empty} of them without a face" if self.empty else ""
        say(f"{images}, {faces}{nobody}; {self.frames / seconds:.3g} images/s")
        if failed:
            reasons = ", ".join(f"{count} {why}" for why, count in self.failures.most_common(5))
            raise RunError(f"{failed} could not be read: {reasons}")


def _printable(name: str) -> str:
    """A name for standard error, whatever bytes it is of."""
    return name.encode("utf-8", "backslashreplace").decode()


def _frames(options: argparse.Namespace, found: list[Source]) -> Generator[Frame, None, None]:
    if options.webcam is not None:
        return video.camera(options.webcam, options.every)
    return sources.frames(found, options.every)


def _check_output(options: argparse.Namespace, found: list[Source]) -> None:
    """The table must not replace what is to be read."""
    if options.csv is not None:
        if options.csv.is_dir():
            raise InputError(f"--csv={options.csv}: is a folder; name a file")
        if options.csv.resolve() in {Path(source.name).resolve() for source in found}:
            raise InputError(f"--csv={options.csv}: is one of the files to look at")


def run(options: argparse.Namespace) -> None:
    """Looks at everything that the options name; see the command's help.

    Raises:
      InputError: bad arguments, model or detector, or nothing could be read.
      RunError: something could not be read, or the model failed.
    """
    live = options.webcam is not None
    camera = Source(f"webcam:{options.webcam}", Path("webcam"))
    found = [camera] if live else sources.find(options.paths)
    _check_output(options, found)
    # Frames are looked at side by side, so each need not be split over the cores.
    import cv2

    if workers_here() > 1:
        cv2.setNumThreads(1)

    from ageflax.predict.annotation import Album
    from ageflax.predict.predictor import Predictor
    from ageflax.predict.table_file import Table
    from ageflax.runtime import compilation_cache

    compilation_cache.enable()
    predictor = Predictor(
        options.model,
        detector=options.detector,
        crops=options.crops,
        calibrated=options.calibrated,
        min_score=options.min_score,
    )
    tally = _Tally()
    with ExitStack() as stack:
        album = options.annotate and stack.enter_context(
            closing(Album(options.annotate, found, options.every))
        )
        table = options.csv and stack.enter_context(closing(Table(options.csv, predictor.config)))
        total = None if live else sources.count(found, options.every)
        progress = stack.enter_context(Progress(total, unit="image", label="looking"))
        frames = stack.enter_context(closing(_frames(options, found)))
        seen_frames = stack.enter_context(
            closing(predictor.stream(frames, keep=bool(album), live=live))
        )
        for seen in tracking.followed(seen_frames, options.smooth):
            tally.add(seen)
            try:
                _print(seen)
            except BrokenPipeError:
                # Whoever reads has had enough, as `head` does; that is no failure.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return
            if table:
                table.add(seen.faces)
            if album:
                album.add(seen)
            progress.update(0 if seen.failure else 1)
    tally.finish()
