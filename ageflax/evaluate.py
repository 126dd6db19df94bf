"""Tests a model on the faces of a dataset: python -m ageflax.evaluate --model=runs/levi/fold_0."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ageflax.runtime import huge_pages

_EPILOG = """\
MODEL is a bundle, a run's fold_K, a whole run, an .onnx file that this project exported, or a bundle on
the Hugging Face hub, hf://OWNER/NAME[@REVISION]. On the data it was trained on, only the fold that was
kept from it is tested; of a whole run, each fold by its own model. On other data a run's models answer
together, their probabilities averaged.

--config.data.name=NAME        dataset to test on (default: the one it was trained on)
--config.data.dir=DIR          where datasets lie; --config.data.manual_dir=DIR: archives to build from
--config.data.label_policy=P   how raw age labels become the model's age groups (default: its own)
--config.data.most_frontal=N   test the N faces of the highest score
--config.fold=K, .folds=(..)   folds to test (default: each that the model has not seen)
--config.eval.crops=C          center, mirror or ten (default: the model's own)
--config.eval.batch_size=N, --config.data.placement=P, --config.data.workers=N

Writes DIR/predictions.csv and, last, DIR/result.json; an earlier result there is replaced.
Exit codes: 0 done, 2 bad input, 1 failed run, 130 interrupted."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ageflax.evaluate",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--model", metavar="MODEL", required=True, help="runs/levi/fold_0, ...")
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        help="where results go (default: runs/evaluate/MODEL_on_DATASET)",
    )
    return parser


def _run(model: str, output: Path | None, overrides: Sequence[str], words: Sequence[str]) -> None:
    # Imported late: --help, and a misspelt key, should not wait for JAX.
    from ageflax.evaluation import settings

    given = settings.of_words(overrides)

    from ageflax.evaluation import evaluate_model
    from ageflax.report import table
    from ageflax.runtime import compilation_cache
    from ageflax.runtime.progress import say

    compilation_cache.enable()
    tested = evaluate_model.run(
        model, given, output, say=say, command=["python", "-m", "ageflax.evaluate", *words]
    )
    print(table.text(tested.summary))
    say(f"results: {tested.directory}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    from ageflax.runtime import command_line

    words = sys.argv[1:] if arguments is None else list(arguments)
    known, overrides = _parser().parse_known_args(words)
    return command_line.run(
        "ageflax.evaluate", lambda: _run(known.model, known.output, overrides, words)
    )


if __name__ == "__main__":
    huge_pages.restart()
    sys.exit(main())
