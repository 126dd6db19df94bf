"""What an exported file says of itself."""

import json
from typing import Any

from ageflax import __version__
from ageflax.bundle import licences, onnx
from ageflax.export.serving import Serving
from ageflax.export.verification import Differences


def preprocessing(serving: Serving) -> str:
    """What a caller does before, and what the model does itself, in words."""
    config = serving.model.config
    spec, margin = config["input"], config.get("crop_margin", 0.0)
    eyes = config.get("eyes")
    aligned = f" turned so that the eyes lie at {eyes} of width and height," if eyes else ""
    face = (
        f"the square on the longer side of the detected box, {margin:g} of it added on each side,"
        f"{aligned} resized to"
    )
    if serving.layout == "nchw_bgr_float":
        size = f"{spec['resize']}x{spec['resize']} by {spec['interpolation']}"
        return (
            f"before: {face} {size}, of which the middle {spec['crop']}x{spec['crop']}; float32"
            " N, C, H, W, BGR, 0-255; nothing subtracted. Inside: mean, deviation, order of channels"
        )
    return (
        f"before: {face} {spec['resize']}x{spec['resize']} by {spec['interpolation']}; uint8"
        f" N, H, W, C, RGB. Inside: mean, deviation, {serving.crops} crop of {spec['crop']}, order of"
        " channels"
    )


def describe(
    serving: Serving, differences: Differences, *, precision: str, **more: Any
) -> dict[str, str]:
    """Keys and texts for a file's metadata.

    Args:
      serving: what was exported.
      differences: of the file from JAX.
      precision: of the weights.
      more: of the format.
    """
    config = serving.model.config
    data, source = config.get("data") or {}, config.get("source") or {}
    described = {
        onnx.METADATA_KEY: json.dumps(config),
        "ageflax.version": __version__,
        "ageflax.layout": serving.layout,
        "ageflax.crops": serving.crops,
        "ageflax.precision": precision,
        "ageflax.preprocessing": preprocessing(serving),
        "ageflax.crop_margin": f"{config.get('crop_margin', 0.0):g}",
        "ageflax.data": str(data.get("name") or "not stated"),
        "ageflax.licence": str(data.get("licence") or "not stated"),
        "ageflax.source": json.dumps(source),
        "ageflax.difference": json.dumps(
            {"images": differences.faces, "largest": differences.overall}
        ),
    }
    if notice := licences.notice(data, source):
        described["ageflax.terms"] = notice
    for task, names in serving.model.heads.items():
        described[f"ageflax.classes.{task}"] = ", ".join(names)
    return described | {f"ageflax.{key}": str(value) for key, value in more.items()}
