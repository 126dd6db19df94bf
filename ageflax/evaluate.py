"""Tests a model on the faces of a dataset: python -m ageflax.evaluate --model=runs/levi/fold_0."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ageflax.runtime import command_line, huge_pages

_EPILOG = """\
MODEL is a bundle, a run's fold_K, a whole run, an .onnx file exported by ageflax.export, or a bundle on
the Hugging Face hub, hf://OWNER/NAME[@REVISION]. On the data that it was trained on, a fold's model is
tested on its held-out fold only, and a whole run on each fold by that fold's model. On other data the
models of a run answer together: their probabilities are averaged.

--config.data.name=NAME        dataset to test on (default: the model's training data)
--config.data.dir=DIR          folder of built datasets
--config.data.manual_dir=DIR   folder of downloaded archives to build from
--config.data.label_policy=P   how raw age labels become the model's age groups (default: the model's)
--config.data.most_frontal=N   number of faces tested, highest face_score first
--config.fold=K, .folds=(..)   folds to test (default: all that the model has not seen)
--config.eval.crops=C          center, mirror, ten or scales (default: the model's)
--config.eval.age=A            mean or median of the distribution over years (default: the model's)
--config.eval.batch_size=N, --config.data.placement=P, --config.data.workers=N

Writes DIR/predictions.csv and, last, DIR/result.json; an earlier result there is replaced.
Exit codes: 0 done, 2 bad input, 1 failed run, 130 interrupted."""


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser("ageflax.evaluate", __doc__, _EPILOG)
    parser.add_argument(
        "--model",
        metavar="MODEL",
        type=command_line.name_or_path,
        required=True,
        help="runs/levi/fold_0, ...",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=command_line.path,
        help="folder of results (default: runs/evaluate/MODEL_on_DATASET)",
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
    words = sys.argv[1:] if arguments is None else list(arguments)
    options, overrides = _parser().parse_known_args(words)
    return command_line.run(
        "ageflax.evaluate", lambda: _run(options.model, options.output, overrides, words)
    )


if __name__ == "__main__":
    huge_pages.restart()
    sys.exit(main())
