"""Tests a model on a dataset or on photographs: python -m ageflax.evaluate --model=runs/levi/fold_0."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ageflax.errors import InputError
from ageflax.runtime import command_line, memory
from ageflax.weights import shipped

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

With --photos=FOLDER it is tested on whole photographs as ageflax.predict answers them: faces are
detected, the labelled one is chosen (large and near the middle), cut out and predicted. labels.csv has
the column path and age (a number), age_group (a range, 25-32 or 70+) or gender, and may have subject;
--labels=fgnet, agedb or utkface reads them from the names of the files. Photographs without a face and
rows that cannot be used are counted by reason. Figures: MAE, median and CS@5 of ages, years outside
ranges, gender; by age band and gender, with 95 % intervals by subject.

Writes DIR/predictions.csv and, last, DIR/result.json; an earlier result there is replaced.
Exit codes: 0 done, 2 bad input, 1 failed run, 130 interrupted."""


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser("ageflax.evaluate", __doc__, _EPILOG)
    parser.add_argument(
        "--model",
        metavar="MODEL",
        type=command_line.name_or_path,
        default=shipped.NAME,
        help="runs/levi/fold_0, ... (default: built in)",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=command_line.path,
        help="folder of results (default: runs/evaluate/MODEL_on_DATASET)",
    )
    photos = parser.add_argument_group("photographs in place of a dataset")
    photos.add_argument(
        "--photos", metavar="FOLDER", type=command_line.path, help="folder of labelled photographs"
    )
    for name, metavar, text in (
        ("labels", "FILE", "list of labels, fgnet, agedb or utkface (default: FOLDER/labels.csv)"),
        ("detector", "DETECTOR", "auto, yunet, mtcnn, haar, none or a file (default: auto)"),
        ("crops", "CROPS", "views of a face, such as mirror (default: the model's)"),
    ):
        photos.add_argument(f"--{name}", metavar=metavar, type=command_line.name_or_path, help=text)
    return parser


def _on_photographs(options: argparse.Namespace, words: Sequence[str]) -> None:
    from ageflax.predict.photographs import evaluate
    from ageflax.runtime import compilation_cache
    from ageflax.runtime.progress import say

    compilation_cache.enable()
    settings = evaluate.Settings(
        photographs=options.photos,
        labels=options.labels,
        detector=options.detector or "auto",
        crops=options.crops,
    )
    text, directory = evaluate.run(
        options.model,
        settings,
        options.output,
        say=say,
        command=["python", "-m", "ageflax.evaluate", *words],
    )
    print(text)
    say(f"results: {directory}")


def _run(options: argparse.Namespace, overrides: Sequence[str], words: Sequence[str]) -> None:
    if options.photos is not None:
        if overrides:
            raise InputError(f"{overrides[0]}: not with --photos; --help lists its options")
        _on_photographs(options, words)
        return
    for name in ("labels", "detector", "crops"):
        if getattr(options, name) is not None:
            instead = "; for a dataset, --config.eval.crops" if name == "crops" else ""
            raise InputError(f"--{name}: only with --photos=FOLDER{instead}")
    _on_dataset(options.model, options.output, overrides, words)


def _on_dataset(
    model: str, output: Path | None, overrides: Sequence[str], words: Sequence[str]
) -> None:
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
    summary = tested.summary
    more = [*table.age_intervals(summary["tasks"]), *table.of_age(summary["tasks"])]
    print("\n".join([table.text(summary), *more]))
    say(f"results: {tested.directory}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options, overrides = _parser().parse_known_args(words)
    return command_line.run("ageflax.evaluate", lambda: _run(options, overrides, words))


if __name__ == "__main__":
    memory.restart_with_huge_pages()
    sys.exit(main())
