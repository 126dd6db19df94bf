"""Makes predictors of the default model one after another, calls the last often, and checks that nothing grows.

    python -m tests.soak.predictors --predictors=1000 --calls=10000

Each predictor answers a drawn photograph once and is dropped. Exit code 1 if memory, open files or threads
of either part are not flat after the warm-up.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ageflax.predict import Predictor
from ageflax.predict.face import Face
from ageflax.weights import shipped
from tests.soak import flat
from tfds_builders.synthetic_faces import drawing, population

_SAMPLES = 200


def _photograph() -> bytes:
    (subject, *_) = population.populate(40, 0)
    return drawing.photograph(subject, 0, size=256, seed=0)


def _repeated(count: int, answer: Callable[[], list[Face]], folder: Path) -> list[flat.Sample]:
    """Asks for one face `count` times; gives samples in between."""
    started, samples = time.monotonic(), []
    for done in range(1, count + 1):
        (_,) = answer()
        if done % max(count // _SAMPLES, 1) == 0:
            samples.append(flat.look(time.monotonic() - started, done, folder))
    return samples


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--predictors", type=int, default=1000)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--model", default=shipped.NAME, help="default: the built-in model")
    parser.add_argument("--detector", default="auto")
    parser.add_argument(
        "--allowed", type=float, default=flat.ALLOWED, help="allowed growth, a share"
    )
    words = parser.parse_args(arguments)
    photograph = _photograph()

    def fresh() -> Predictor:
        return Predictor(words.model, detector=words.detector, say=lambda line: None)

    predictor = fresh()
    parts: list[tuple[str, int, Callable[[], list[Face]]]] = [
        ("predictors, each with one answer", words.predictors, lambda: fresh()(photograph)),
        ("calls of one predictor", words.calls, lambda: predictor(photograph)),
    ]
    code = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, count, answer in parts:
            samples = _repeated(count, answer, Path(folder))
            print(f"{count} {name}")
            code |= flat.report(samples, allowed=words.allowed)
    return code


if __name__ == "__main__":
    sys.exit(main())
