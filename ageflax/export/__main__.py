"""Exports a model to ONNX or StableHLO: python -m ageflax.export --model=MODEL --output=age.onnx."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ageflax.config import CROPS
from ageflax.runtime import command_line

_EPILOG = """\
MODEL is a bundle, a run's fold_K, or a bundle on the Hugging Face hub, hf://OWNER/NAME[@REVISION].

FILE.onnx       for onnxruntime and others (extra: uv run --extra onnx ...); OpenCV's DNN, which has no
                uint8, needs --layout=nchw_bgr_float
FILE.stablehlo  for JAX, TensorFlow and C++ on CPU, CUDA and TPU: jax.export.deserialize reads it;
                FILE.stablehlo.json describes it

Input `images`: uint8[batch, resize, resize, 3], RGB; mean, crop and channel order are inside the model.
Outputs: TASK_probabilities, and age in years if the model predicts it. Classes, crop margin, licence and
source are in the metadata. The file is run and compared with JAX before it gets its name.

Exit codes: 0 written, 2 bad input, 1 failed or answers differ from JAX's, 130 interrupted."""


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser("ageflax.export", __doc__, _EPILOG)
    parser.add_argument(
        "--model",
        metavar="MODEL",
        type=command_line.name_or_path,
        required=True,
        help="runs/levi/fold_0, ...",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=command_line.path,
        required=True,
        help="file to write, .onnx or .stablehlo",
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
    return parser


def _run(options: argparse.Namespace) -> None:
    # Imported late: --help should not wait for JAX.
    from ageflax.bundle import loading
    from ageflax.errors import InputError
    from ageflax.export import write
    from ageflax.runtime import compilation_cache
    from ageflax.runtime.progress import say

    compilation_cache.enable()
    write.check_output(options.output)
    opened = loading.open_model(options.model)
    first, *others = opened.members
    if others:
        raise InputError(
            f"--model={options.model}: a run of {1 + len(others)} folds; export one, such as"
            f" {first.path}"
        )
    if opened.is_onnx:
        raise InputError(f"--model={options.model}: an .onnx file already; name its bundle")
    written = write.export(
        opened,
        options.output,
        crops=options.crops,
        layout=options.layout,
        precision=options.precision,
        opset=options.opset,
        faces=Path(options.verify) if options.verify else None,
        thorough=options.verify is not None,
        say=say,
    )
    if options.verify is not None or options.precision != "float32":
        print("\n".join(written.differences.lines()))
    say(f"written: {written.path}, {written.size / 1e6:.1f} MB")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    return command_line.run("ageflax.export", lambda: _run(options))


if __name__ == "__main__":
    sys.exit(main())
