"""Runs the command: reads sources, prints a line per face, writes table and copies, counts failures."""

import argparse
import collections
import time
from contextlib import ExitStack, closing
from pathlib import Path

import cv2

from ageflax.errors import InputError, RunError
from ageflax.predict import sources, tracking, video
from ageflax.predict.annotation import Album
from ageflax.predict.features import FeaturesFile
from ageflax.predict.frames import LeftOut, Seen, workers_here
from ageflax.predict.output import Columns, Printer, Table
from ageflax.predict.predictor import Predictor
from ageflax.predict.sources import Source
from ageflax.runtime import compilation_cache
from ageflax.runtime.progress import Progress, say

# Photographs up to which answers cost less than compiling the network for speed would.
_FEW = 50


class _Tally:
    """Counts frames, faces and failures."""

    def __init__(self, min_quality: float) -> None:
        self.frames = self.faces = self.empty = 0
        self._low = LeftOut(min_quality)
        self.failures: collections.Counter[str] = collections.Counter()
        self._started = time.monotonic()

    def add(self, seen: Seen) -> None:
        if seen.failure is not None:
            self.failures[seen.failure] += 1
            # A file name may have bytes that are not UTF-8.
            name = seen.frame.source.encode("utf-8", "backslashreplace").decode()
            say(f"{name}: {seen.failure}")
            return
        self.frames += 1
        self.faces += len(seen.faces)
        self.empty += not seen.faces and not seen.left_out
        self._low.add(seen)

    def finish(self) -> None:
        """Prints the totals.

        Raises:
          InputError: nothing could be read.
          RunError: something could not be read.
        """
        failed = self.failures.total()
        if not self.frames:
            raise InputError("nothing could be read" if failed else "--webcam: no frame came")
        seconds = max(time.monotonic() - self._started, 1e-9)
        images = f"{self.frames} image{'s' * (self.frames != 1)}"
        faces = f"{self.faces} face{'s' * (self.faces != 1)}"
        empty = f", {self.empty} without a face" if self.empty else ""
        say(f"{images}, {faces}{empty}; {self.frames / seconds:.3g} images/s")
        if self._low.line:
            say(self._low.line)
        if failed:
            reasons = ", ".join(f"{count} {why}" for why, count in self.failures.most_common(5))
            raise RunError(f"{failed} could not be read: {reasons}")


def _check_output(option: str, path: Path | None, found: list[Source]) -> None:
    """Refuses a file to write that would replace one of the sources."""
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"{option}={path}: is a folder; name a file")
    if path.resolve() in {Path(source.name).resolve() for source in found}:
        raise InputError(f"{option}={path}: is also an input; name another file")


def run(options: argparse.Namespace) -> None:
    """Predicts everything that the options name; see the command's help.

    Raises:
      InputError: arguments, model or detector are bad, or nothing could be read.
      RunError: something could not be read, or the model failed.
    """
    live = options.webcam is not None
    camera = Source(f"webcam:{options.webcam}", Path("webcam"))
    found = [camera] if live else sources.find(options.paths)
    _check_output("--csv", options.csv, found)
    _check_output("--features", options.features, found)
    if workers_here() > 1:
        # Frames are processed in parallel, so OpenCV need not split each over the cores.
        cv2.setNumThreads(1)
    compilation_cache.enable()
    predictor = Predictor(
        options.model,
        detector=options.detector,
        crops=options.crops,
        calibrated=options.calibrated,
        interval=options.interval,
        under=options.under,
        min_score=options.min_score,
        min_quality=options.min_quality,
        engine=options.engine,
        quick=not live and len(found) <= _FEW and not any(source.is_video for source in found),
    )
    photographs = [source.name for source in found if source.is_photograph]
    if photographs and not live:
        predictor.check_framing(photographs)
    tally = _Tally(options.min_quality)
    with ExitStack() as stack:
        album = options.annotate and stack.enter_context(
            closing(Album(options.annotate, found, options.every))
        )
        given = predictor.estimator
        columns = Columns(
            predictor.description, given.under, interval=given.interval, blank=options.blank
        )
        table = options.csv and stack.enter_context(closing(Table(options.csv, columns)))
        features = options.features and stack.enter_context(
            FeaturesFile(options.features, predictor)
        )
        total = None if live else sources.count(found, options.every)
        progress = stack.enter_context(Progress(total, unit="image", label="predicting"))
        if live:
            frames = video.camera(options.webcam, options.every)
        else:
            frames = sources.frames(found, options.every)
        stack.enter_context(closing(frames))
        predicted = predictor.stream(frames, keep=bool(album), live=live, features=bool(features))
        stack.enter_context(closing(predicted))
        printer = stack.enter_context(Printer(options.format, columns, blank=options.blank))
        for seen in tracking.followed(predicted, options.smooth):
            tally.add(seen)
            printer.add(seen)
            if not printer.wanted:
                return
            if table:
                table.add(seen)
            if features:
                features.add(seen.faces)
            if album:
                album.add(seen)
            progress.update(0 if seen.failure else 1)
    tally.finish()
