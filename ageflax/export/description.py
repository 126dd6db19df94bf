"""Metadata of exported files."""

import json
from typing import Any

from ageflax import __version__
from ageflax.bundle import licences, onnx
from ageflax.export.accuracy import Accuracy
from ageflax.export.serving import Serving
from ageflax.export.verification import Differences


def preprocessing(serving: Serving) -> str:
    """Preprocessing in words: steps for the caller, and steps inside the model."""
    config = serving.model.config
    spec, margin, eyes = config["input"], config.get("crop_margin", 0.0), config.get("eyes")
    size, crop = spec["resize"], spec["crop"]
    aligned = f" rotated so that the eyes lie at {eyes} of width and height," if eyes else ""
    face = (
        f"before: the square on the longer side of the detected box, {margin:g} of it added on each"
        f" side,{aligned} resized to {size}x{size} by {spec['interpolation']}"
    )
    if serving.layout == "nchw_bgr_float":
        return (
            f"{face}, and its middle {crop}x{crop}; float32 N, C, H, W, BGR, 0-255; nothing subtracted."
            " Inside: mean, std, order of channels"
        )
    return (
        f"{face}; uint8 N, H, W, C, RGB. Inside: mean, std, {serving.crops} crop of {crop}, order of"
        " channels"
    )


def describe(
    serving: Serving,
    differences: Differences,
    accuracy: Accuracy | None = None,
    *,
    precision: str,
    **more: Any,
) -> dict[str, str]:
    """Keys and texts of a file's metadata.

    Args:
      serving: exported model.
      differences: differences of the file from JAX.
      accuracy: accuracy on labelled faces, if measured.
      precision: precision of the weights.
      more: further keys of the format.
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
    if accuracy is not None:
        described["ageflax.accuracy"] = json.dumps(accuracy.to_json())
    if notice := licences.notice(data, source):
        described["ageflax.terms"] = notice
    for task, names in serving.model.heads.items():
        described[f"ageflax.classes.{task}"] = ", ".join(names)
    return described | {f"ageflax.{key}": str(value) for key, value in more.items()}
