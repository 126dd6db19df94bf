"""The OpenAPI 3.1 document of the endpoint, with the classes of its model."""

from collections.abc import Sequence

import ageflax
from ageflax import labels
from ageflax.bundle.description import Description
from ageflax.demo.limits import Limits
from ageflax.runtime.files import Json

# Pattern of a stream's name.
STREAM_NAME = "[A-Za-z0-9_-]{8,64}"
ENDPOINT = "/faces"
_NUMBER = {"type": "number"}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}


def _object(properties: Json, *, optional: tuple[str, ...] = ()) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _or_null(schema: Json, description: str) -> Json:
    return {"anyOf": [schema, {"type": "null"}], "description": description}


def _answer(names: Sequence[str]) -> Json:
    probabilities = _object(dict.fromkeys(names, _SHARE))
    return _object({"label": {"enum": list(names)}, "probabilities": probabilities})


def _face(model: Description) -> Json:
    groups = labels.group_names(model.intervals)
    genders = model.heads.get("gender") or labels.GENDERS
    smoothing = _object(
        {"kind": {"const": "exponential"}, "share": _SHARE, "frames": {"type": "integer"}}
    )
    score = "YuNet's, 0 to 1; Haar's, unbounded; null if the whole picture is the face"
    return _object(
        {
            "source": {"type": "string"},
            "frame": _or_null(
                {"type": "integer"}, "index of the frame in a stream, from 0; null without a stream"
            ),
            "box": {
                "type": "array",
                "items": _NUMBER,
                "minItems": 4,
                "maxItems": 4,
                "description": "x, y, width, height in pixels of the upright picture",
            },
            "detection_score": _or_null(_NUMBER, score),
            "age_group": _or_null(_answer(groups), "null if the model predicts no ages"),
            "age": _or_null(_NUMBER, "expected age in years; null if the model predicts no ages"),
            "age_deviation": _or_null(_NUMBER, "standard deviation of the age in years"),
            "gender": _or_null(_answer(genders), "null if the model predicts none"),
            "track": {
                "type": "integer",
                "description": "ID of the face followed through a stream, from 1",
            },
            "smoothing": {**smoothing, "description": "averaging along the track"},
            "calibrated": {
                "const": True,
                "description": "probabilities are scaled by the model's temperatures",
            },
        },
        optional=("track", "smoothing", "calibrated"),
    )


def _refusals(limits: Limits) -> dict[str, str]:
    """Each status other than 200, with its meaning."""
    return {
        "400": "no picture, a damaged form, a bad name of a stream, or two Host headers",
        "403": "request from a page of another site",
        "408": f"the picture did not arrive within {limits.upload_seconds:g} seconds",
        "413": f"more than {limits.max_bytes / 1e6:g} megabytes or {limits.max_pixels / 1e6:g}"
        " megapixels",
        "415": "not a picture",
        "421": "unknown host name",
        "422": "a damaged picture",
        "429": f"more than {limits.rate:g} requests per second, or {limits.places_each} at once, from"
        " one address; see Retry-After",
        "500": "the model failed",
        "503": "too many requests are waiting; see Retry-After",
    }


def _response(schema: Json, description: str) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def document(model: Description, limits: Limits) -> Json:
    """Makes the OpenAPI document.

    Args:
      model: description of the model.
      limits: limits in force.
    """
    reference = {"$ref": "#/components/schemas/Refusal"}
    binary = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
    form = {"schema": _object({"image": {"type": "string", "format": "binary"}})}
    stream = {
        "name": "stream",
        "in": "query",
        "schema": {"type": "string", "pattern": f"^{STREAM_NAME}$"},
        "description": "name, chosen by the caller, of a camera or video whose frames are sent one after"
        " another: faces are detected at one coarse scale and tracked, and predictions are averaged"
        " along each track",
    }
    post = {
        "summary": "Faces of a picture, from left to right",
        "operationId": "faces",
        "parameters": [stream],
        "requestBody": {
            "required": True,
            "description": "JPEG, PNG, WebP, GIF, BMP, TIFF or PPM, as the body or in a form; kept in"
            " memory only, and only until it is answered",
            "content": {"application/octet-stream": binary, "image/*": binary}
            | {"multipart/form-data": form},
        },
        "responses": {
            "200": _response({"$ref": "#/components/schemas/Faces"}, "any number of faces"),
            **{status: _response(reference, why) for status, why in _refusals(limits).items()},
        },
    }
    size = {"type": "integer", "minimum": 1, "description": "pixels of the upright picture"}
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
                            "description": "processing time, without waiting",
                        },
                    }
                ),
                "Face": _face(model),
                "Refusal": _object(
                    {"error": {"type": "string", "description": "one sentence, for people"}}
                ),
            }
        },
    }
