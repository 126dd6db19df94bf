"""Converts published weights into a bundle: python -m ageflax.import_weights --from=caffe ...

For example, a network that Levi and Hassner published:

  python -m ageflax.import_weights --from=caffe --arch=levi_hassner --known=levi_gender
    --input=gender_net.caffemodel --mean=mean.binaryproto --output=models/levi_gender
"""

import argparse
import sys
from collections.abc import Sequence

from ageflax.runtime import command_line

_EPILOG = """\
FORMAT  caffe: a .caffemodel of V1 or V2; torch: .safetensors, .pth, .pt or .bin with the tensor names of
        torchvision, timm, CLIP or Caffe; onnx: layers are identified from the graph, also in files that
        tf2onnx makes of Keras and TensorFlow Lite; dlib: a .dat of dlib-models. Nothing in a file is
        ever executed: a pickle is read as data.
ARCH    levi_hassner (caffe, onnx), vgg16 (caffe, torch, onnx), resnet18, resnet34, resnet50 (torch,
        onnx), vit_b16, efficientnet_lite0 (torch), dlib_age_resnet, dlib_gender_cnn, dlib_face_resnet
        (dlib)

Facts that the file does not hold must be given; none is guessed. --known gives those of a published
model; other options override it.
--classes lists the outputs in the file's order: Male,Female | 0-2,4-6,... | "years" for 0 to 100 or
"years:0-80" | "-" for an output to be dropped; "none" takes the trunk alone, as a start for training.
In the bundle they are in the order of ageflax: age groups from young to old, female before male.

An earlier bundle at --output is replaced.
Exit codes: 0 done, 2 bad input, 1 failed, 130 interrupted."""


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser("ageflax.import_weights", __doc__, _EPILOG)
    parser.add_argument(
        "--from",
        dest="framework",
        metavar="FORMAT",
        required=True,
        choices=("caffe", "torch", "onnx", "dlib"),
        help="format of the file: caffe, torch, onnx or dlib",
    )
    add = parser.add_argument
    add("--arch", metavar="ARCH", required=True, help="architecture, see below")
    add("--input", metavar="FILE", type=command_line.path, required=True, help="file of weights")
    add(
        "--output",
        metavar="BUNDLE",
        type=command_line.path,
        required=True,
        help="folder of the bundle to write",
    )
    add(
        "--known",
        metavar="MODEL",
        help="published model: levi_age, levi_gender, dex_age, dex_apparent_age, dex_gender, vgg_face,"
        " fairface, dlib_age or dlib_gender",
    )
    add("--classes", metavar="NAMES", help="classes of the outputs, see below")
    add("--channels", metavar="ORDER", help="channel order, rgb or bgr (default of caffe: bgr)")
    add(
        "--mean",
        metavar="MEAN",
        type=command_line.name_or_path,
        help="mean.binaryproto, three numbers 0-255 in the order of --channels, imagenet, clip, dlib,"
        " efficientnet_lite or none",
    )
    add(
        "--deviation",
        metavar="STD",
        help="std: three numbers or a name, as for --mean (default: the mean's if named, else none)",
    )
    add(
        "--resize",
        metavar="PIXELS",
        type=int,
        help="side of the resized face (default: 256 for levi_hassner, else --crop)",
    )
    add(
        "--crop",
        metavar="PIXELS",
        type=int,
        help="side of the network's input (default: 227 for levi_hassner, else 224)",
    )
    add(
        "--interpolation",
        metavar="FILTER",
        default="bilinear",
        help="resizing filter, bilinear or area (default: bilinear)",
    )
    add(
        "--crop_margin",
        metavar="SHARE",
        type=float,
        help="share of a detected face's side added on each side (default: 0, or the known model's)",
    )
    add("--data", metavar="NAME", help="name of the training data")
    add("--licence", metavar="TEXT", help="licence of the weights and of the training data")
    return parser


def _run(options: argparse.Namespace) -> None:
    # Imported late: --help should not wait for JAX.
    from ageflax.import_weights import make_bundle
    from ageflax.runtime.progress import say

    make_bundle.run(make_bundle.Request(**vars(options)), say=say)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    return command_line.run("ageflax.import_weights", lambda: _run(options))


if __name__ == "__main__":
    sys.exit(main())
