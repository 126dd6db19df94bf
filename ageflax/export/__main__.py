"""Exports a model to one file or a small bundle: python -m ageflax.export --output=age.onnx."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ageflax.config import CROPS
from ageflax.errors import InputError
from ageflax.runtime import command_line
from ageflax.weights import shipped

if TYPE_CHECKING:
    from ageflax.export.write import Written

_EPILOG = """\
MODEL is a bundle, a run's fold_K, or a bundle on the Hugging Face hub, hf://OWNER/NAME[@REVISION].

FILE.onnx       for onnxruntime and others (extra: uv run --extra onnx ...); OpenCV's DNN, which has no
                uint8, needs --layout=nchw_bgr_float
FILE.stablehlo  for JAX, TensorFlow and C++ on CPU, CUDA and TPU: jax.export.deserialize reads it;
                FILE.stablehlo.json describes it
DIR             with --format=bundle: a bundle as --model takes it, its weights in --precision; with
                LICENSE, the terms of the weights, and figures of tests in its card

A file's input `images`: uint8[batch, resize, resize, 3], RGB; mean, crop and channel order are inside
the model. Outputs: TASK_probabilities, and age in years if the model predicts it. Classes, crop margin,
licence and source are in the metadata. Whatever is written is run and compared with the model in float32
before it gets its name.

--config.data.manual_dir=FOLDER, and the other words of ageflax.evaluate, name a dataset: faces of it
that the model was not trained on are answered by it and by what is written, and both accuracies
end the last line and stand in the metadata or the card.

Exit codes: 0 written, 2 bad input, 1 failed or answers differ from JAX's, 130 interrupted."""


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser("ageflax.export", __doc__, _EPILOG)
    parser.add_argument(
        "--model",
        metavar="MODEL",
        type=command_line.name_or_path,
        default=shipped.NAME,
        help="runs/levi/fold_0, ... (default: the built-in model)",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=command_line.path,
        required=True,
        help="file to write, .onnx or .stablehlo; with --format=bundle a folder",
    )
    parser.add_argument(
        "--format",
        choices=("onnx", "stablehlo", "bundle"),
        help="format to write (default: by the suffix of FILE)",
    )
    parser.add_argument(
        "--crops", default="center", help=f"averaged views: {', '.join(CROPS)} (default: center)"
    )
    parser.add_argument(
        "--precision",
        default="float32",
        help="type of the stored weights: float32, float16 or int8; computation is in float32"
        " (default: float32)",
    )
    parser.add_argument(
        "--layout",
        default="nhwc_rgb_uint8",
        help="layout of the input: nhwc_rgb_uint8, or nchw_bgr_float, the crop as floats 0-255, as in"
        " the ONNX zoo's age and gender models (default: nhwc_rgb_uint8)",
    )
    parser.add_argument(
        "--opset", type=int, default=17, metavar="N", help="ONNX opset, 13 to 23 (default: 17)"
    )
    parser.add_argument(
        "--verify",
        nargs="?",
        const="",
        metavar="PATH",
        type=command_line.name_or_path,
        help="largest difference from JAX, printed, in batches of 1, 7 and 64 of random images or of"
        " PATH, a photograph of a face or a folder of them",
    )
    parser.add_argument(
        "--terms",
        metavar="FILE",
        type=command_line.path,
        help="terms of a bundle's weights, a text whose first paragraph states them in short (default:"
        " as MODEL states them)",
    )
    parser.add_argument(
        "--figures",
        metavar="FILE",
        type=command_line.path,
        action="append",
        default=[],
        help="result.json of ageflax.evaluate, for a bundle's card; repeatable",
    )
    return parser


def _check(options: argparse.Namespace) -> None:
    """Refuses options that the format does not have, and a file's suffix of another format."""
    if options.format == "bundle":
        given = {"crops": "center", "layout": "nhwc_rgb_uint8", "opset": 17}
    else:
        given = {"terms": None, "figures": []}
        if options.format and options.output.suffix != f".{options.format}":
            raise InputError(
                f"--output={options.output}: expected a name that ends in .{options.format}"
            )
    for name, usual in given.items():
        if getattr(options, name) != usual:
            why = "not with" if options.format == "bundle" else "only with"
            raise InputError(f"--{name}: {why} --format=bundle")


def _last_line(options: argparse.Namespace, written: "Written") -> str:
    """Path, size and, of fewer bits, accuracy: on labelled faces, or that it was not measured."""
    from ageflax.bundle import card

    line = f"written: {written.path}, {written.size / 1e6:.1f} MB"
    if written.accuracy is not None:
        return f"{line}; {options.precision} on {card.accuracy(written.accuracy.to_json())}"
    if options.precision == "float32":
        return line
    return (
        f"{line}; the accuracy of {options.precision} was not measured, only its differences on"
        f" {written.differences.faces}: --config.data.manual_dir=FOLDER names labelled faces"
    )


def _run(options: argparse.Namespace, overrides: Sequence[str]) -> None:
    _check(options)
    # Imported late: --help, and a misspelt key, should not wait for JAX.
    from ageflax.evaluation import settings

    tested = settings.of_words(overrides) if overrides else None

    from ageflax.bundle import loading
    from ageflax.export import small_bundle, write
    from ageflax.runtime import compilation_cache
    from ageflax.runtime.progress import say

    compilation_cache.enable()
    is_bundle = options.format == "bundle"
    if not is_bundle:
        write.check_output(options.output)  # first, to fail before anything that takes long
    opened = loading.open_model(options.model)
    first, *others = opened.members
    if others:
        raise InputError(
            f"--model={options.model}: a run of {1 + len(others)} folds; export one, such as"
            f" {first.path}"
        )
    if opened.is_onnx:
        raise InputError(f"--model={options.model}: an .onnx file already; name its bundle")
    faces = Path(options.verify) if options.verify else None
    if is_bundle:
        written = small_bundle.export(
            opened,
            options.output,
            precision=options.precision,
            faces=faces,
            terms=options.terms,
            figures=options.figures,
            tested=tested,
            say=say,
        )
    else:
        written = write.export(
            opened,
            options.output,
            crops=options.crops,
            layout=options.layout,
            precision=options.precision,
            opset=options.opset,
            faces=faces,
            thorough=options.verify is not None,
            tested=tested,
            say=say,
        )
    if options.verify is not None or options.precision != "float32":
        print("\n".join(written.differences.lines()))
    say(_last_line(options, written))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options, overrides = _parser().parse_known_args(arguments)
    return command_line.run("ageflax.export", lambda: _run(options, overrides))


if __name__ == "__main__":
    sys.exit(main())
