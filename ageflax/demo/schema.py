"""The endpoint's own description, OpenAPI 3.1, with the classes of the model that answers."""

from typing import Any

import ageflax
from ageflax import labels
from ageflax.demo.limits import Limits

# What a stream may be called.
STREAM_NAME = "[A-Za-z0-9_-]{8,64}"
ENDPOINT = "/faces"
_NUMBER = {"type": "number"}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}


def _object(properties: dict[str, Any], *, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _or_null(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}], "description": description}


def _answer(names: list[str]) -> dict[str, Any]:
    probabilities = _object(dict.fromkeys(names, _SHARE))
    return _object({"label": {"enum": names}, "probabilities": probabilities})


def _face(config: dict[str, Any]) -> dict[str, Any]:
    intervals = tuple((low, high) for low, high in config["age_groups"])
    groups = list(labels.group_names(intervals))
    genders = config["heads"].get("gender") or list(labels.GENDERS)
    smoothing = _object(
        {"kind": {"const": "exponential"}, "share": _SHARE, "frames": {"type": "integer"}}
    )
    score = "YuNet's, 0 to 1; Haar's has no upper bound; null where the picture is the face"
    return _object(
        {
            "source": {"type": "string"},
            "frame": _or_null({"type": "integer"}, "of a stream, from 0"),
            "box": {
                "type": "array",
                "items": _NUMBER,
                "minItems": 4,
                "maxItems": 4,
                "description": "x, y, width, height in pixels of the upright picture",
            },
            "detection_score": _or_null(_NUMBER, score),
            "age_group": _or_null(_answer(groups), "null of a model that knows no ages"),
            "age": _or_null(_NUMBER, "years; null of a model that knows no ages"),
            "age_deviation": _or_null(_NUMBER, "standard deviation of the age, years"),
            "gender": _or_null(_answer(list(genders)), "null of a model that knows none"),
            "track": {"type": "integer", "description": "of a stream, who is who, from 1"},
            "smoothing": {**smoothing, "description": "how answers are averaged along a track"},
            "calibrated": {"const": True, "description": "scaled by the model's temperatures"},
        },
        optional=("track", "smoothing", "calibrated"),
    )


def _refusals(limits: Limits) -> dict[str, str]:
    """Each status that is not 200, and when it comes."""
    return {
        "400": "no picture, or a damaged form",
        "403": "from a page of another site",
        "408": f"the picture did not arrive within {limits.upload_seconds:g} seconds",
        "413": f"more than {limits.max_bytes / 1e6:g} megabytes or {limits.max_pixels / 1e6:g}"
        " megapixels",
        "415": "not a picture",
        "421": "a Host that this server is not known by",
        "422": "a damaged picture",
        "429": f"more than {limits.rate:g} requests a second, or {limits.places_each} at once, from"
        " one address; see Retry-After",
        "500": "the model failed",
        "503": "too many requests wait; see Retry-After",
    }


def _said(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def document(config: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """The OpenAPI document.

    Args:
      config: of the model.
      limits: that are kept.
    """
    reference = {"$ref": "#/components/schemas/Refusal"}
    binary = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
    form = {"schema": _object({"image": {"type": "string", "format": "binary"}})}
    stream = {
        "name": "stream",
        "in": "query",
        "schema": {"type": "string", "pattern": f"^{STREAM_NAME}$"},
        "description": "a name of the caller's choice for a camera or video whose frames come one after"
        " another: they are looked at once and coarsely, faces have tracks, and answers are averaged"
        " along them",
    }
    post = {
        "summary": "The faces of a picture, from the left to the right",
        "operationId": "faces",
        "parameters": [stream],
        "requestBody": {
            "required": True,
            "description": "JPEG, PNG, WebP, GIF, BMP, TIFF or PPM, as the body or in a form; kept in"
            " memory only, and only while it is looked at",
            "content": {"application/octet-stream": binary, "image/*": binary}
            | {"multipart/form-data": form},
        },
        "responses": {
            "200": _said({"$ref": "#/components/schemas/Faces"}, "none, one or many faces"),
            **{status: _said(reference, why) for status, why in _refusals(limits).items()},
        },
    }
    size = {"type": "integer", "minimum": 1, "description": "of the upright picture"}
    faces = {"type": "array", "items": {"$ref": "#/components/schemas/Face"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ageflax",
            "version": ageflax.__version__,
            "description": "Apparent age and gender of the faces in a picture. Not for age"
            " verification, nor for decisions about people.",
        },
        "paths": {ENDPOINT: {"post": post}},
        "components": {
            "schemas": {
                "Faces": _object(
                    {
                        "width": size,
                        "height": size,
                        "faces": faces,
                        "seconds": {
                            **_NUMBER,
                            "description": "that the answer took, without waiting",
                        },
                    }
                ),
                "Face": _face(config),
                "Refusal": _object({"error": {"type": "string", "description": "for people"}}),
            }
        },
    }
