"""Makes a bundle of somebody else's weights: python -m ageflax.import_weights --from=caffe ...

For example, a network of Levi and Hassner as they published it:

  python -m ageflax.import_weights --from=caffe --arch=levi_hassner --known=levi_gender
    --input=gender_net.caffemodel --mean=mean.binaryproto --output=models/levi_gender
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

_EPILOG = """\
FORMAT  caffe: a .caffemodel of V1 or V2; torch: .safetensors, .pth, .pt or .bin in the names of
        torchvision, timm, CLIP or Caffe; onnx: its layers are told by the graph. Nothing in a file is
        ever run: a pickle is read as data.
ARCH    levi_hassner (caffe, onnx), vgg16 (all), resnet18, resnet34, resnet50 (torch, onnx), vit_b16
        (torch)

What the file does not say must be said; nothing of it is guessed.
--known      a published model, of which this is known: levi_age, levi_gender, dex_age,
             dex_apparent_age, dex_gender, vgg_face, fairface; what other flags say goes before it
--classes    the outputs in the file's order: Male,Female | 0-2,4-6,... | "years" for 0 to 100 | "-"
             for an output that is no class of ours; "none" takes the trunk alone, as a start for
             training. The bundle has them in this project's order: age groups from young to old,
             female before male.
--channels   rgb or bgr; Caffe's are bgr unless said otherwise
--mean       a mean.binaryproto, three numbers of 0-255 in the order of --channels, imagenet, clip or
             none
--deviation  three numbers, imagenet, clip or none (default: that of imagenet or clip where the mean
             is, else none)
--resize     side the face is resized to (default 256 of levi_hassner, else the crop)
--crop       side of what the network sees (default 227 of levi_hassner, else 224)

An earlier bundle in the output's place is replaced.
Exit codes: 0 done, 2 bad input, 1 failed, 130 interrupted."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ageflax.import_weights",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--from",
        dest="framework",
        metavar="FORMAT",
        required=True,
        choices=("caffe", "torch", "onnx"),
        help="caffe, torch or onnx",
    )
    parser.add_argument("--arch", metavar="ARCH", required=True, help="the network of ours")
    parser.add_argument("--input", metavar="FILE", type=Path, required=True)
    parser.add_argument("--output", metavar="BUNDLE", type=Path, required=True)
    parser.add_argument("--known", metavar="MODEL")
    parser.add_argument("--classes", metavar="NAMES")
    parser.add_argument("--channels", metavar="ORDER")
    parser.add_argument("--mean", metavar="MEAN")
    parser.add_argument("--deviation", metavar="DEVIATION")
    parser.add_argument("--resize", metavar="PIXELS", type=int)
    parser.add_argument("--crop", metavar="PIXELS", type=int)
    parser.add_argument("--interpolation", metavar="HOW", default="bilinear", help="bilinear, area")
    parser.add_argument(
        "--crop-margin",
        metavar="SHARE",
        type=float,
        help="of a detected face's side, added on each side (default 0, or the known model's)",
    )
    parser.add_argument("--data", metavar="NAME", help="what the model was trained on")
    parser.add_argument("--licence", metavar="TEXT", help="of the weights and of that data")
    return parser


def _run(given: argparse.Namespace) -> None:
    # Imported late: --help should not wait for JAX.
    from ageflax.import_weights import make_bundle
    from ageflax.runtime.progress import say

    make_bundle.run(make_bundle.Request(**vars(given)), say=say)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    from ageflax.runtime import command_line

    given = _parser().parse_args(arguments)
    return command_line.run("ageflax.import_weights", lambda: _run(given))


if __name__ == "__main__":
    sys.exit(main())
