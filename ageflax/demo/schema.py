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
# Address of the endpoint in the samples; the page puts its own.
ADDRESS = "http://127.0.0.1:7860/faces"
_NUMBER = {"type": "number"}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}

# Of each language a sample for one picture or, in JSON, for several.
SAMPLES = {
    "curl": f"""\
curl --data-binary @photo.jpg {ADDRESS}
curl -F image=@photo.jpg {ADDRESS}
printf '{{"images": ["%s"]}}' "$(base64 < photo.jpg | tr -d '\\n')" | curl --json @- {ADDRESS}
""",
    "Python": f"""\
import base64, pathlib, requests

images = [base64.b64encode(path.read_bytes()).decode() for path in pathlib.Path().glob("*.jpg")]
answers = requests.post("{ADDRESS}", json={{"images": images}}).json()
for answer in answers["images"]:
    print(answer.get("error") or [(face["box"], face["age"]) for face in answer["faces"]])
""",
    "JavaScript": f"""\
import {{ readFile }} from "node:fs/promises";

const images = [await readFile("photo.jpg", "base64")];
const headers = {{ "content-type": "application/json" }};
const body = JSON.stringify({{ images }});
const response = await fetch("{ADDRESS}", {{ method: "POST", headers, body }});
const answers = await response.json();
for (const answer of answers.images) console.log(answer.error ?? answer.faces);
""",
}


def _object(properties: Json, *, optional: tuple[str, ...] = (), more: bool = False) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": more,
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
            "age": _or_null(_NUMBER, "estimated age in years; null if the model predicts no ages"),
            "age_deviation": _or_null(_NUMBER, "standard deviation of the age in years"),
            "gender": _or_null(_answer(genders), "null if the model predicts none"),
            "age_interval": {
                **_object(
                    {"level": _SHARE, "low": {"type": "integer"}, "high": {"type": "integer"}}
                ),
                "description": "years that contain the age of a share `level` of people, where the"
                " model was calibrated for it",
            },
            "quality": {
                **_SHARE,
                "description": "usual error of such a face, beside that expected in this picture, where"
                " the model carries a measure of it",
            },
            "quality_reason": _or_null({"type": "string"}, "null of a good picture"),
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
        optional=(
            "age_interval",
            "quality",
            "quality_reason",
            "track",
            "smoothing",
            "calibrated",
        ),
        more=True,
    )


def _refusals(limits: Limits) -> dict[str, str]:
    """Each status other than 200, with its meaning."""
    return {
        "400": "no picture, a damaged form or list, or a bad name of a stream",
        "403": "request from a page of another site",
        "408": f"the request did not arrive within {limits.upload_seconds:g} seconds",
        "413": f"a request of more than {limits.max_bytes / 1e6:g} megabytes,"
        f" {limits.max_pixels / 1e6:g} megapixels or {limits.max_pictures} pictures",
        "415": "not a picture",
        "421": "unknown host name",
        "422": "a damaged picture",
        "500": "the model failed",
        "503": "too many pictures are waiting; see Retry-After",
    }


def _response(schema: Json, description: str) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def document(model: Description, limits: Limits) -> Json:
    """Makes the OpenAPI document.

    Args:
      model: description of the model.
      limits: limits in force.
    """
    faces, refusal = ({"$ref": f"#/components/schemas/{name}"} for name in ("Faces", "Refusal"))
    binary = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
    form = {"schema": _object({"image": {"type": "string", "format": "binary"}}, more=True)}
    texts = {
        "type": "array",
        "items": {"type": "string", "contentEncoding": "base64"},
        "minItems": 1,
        "maxItems": limits.max_pictures,
        "description": "pictures in base64, bare or as data: URLs",
    }
    pixel = "R0lGODdhAQABAIAAAP///////ywAAAAAAQABAAACAkQBADs="
    listed = {
        "schema": _object({"images": texts}, more=True),
        "example": {"images": [pixel, f"data:image/gif;base64,{pixel}"]},
    }
    stream = {
        "name": "stream",
        "in": "query",
        "schema": {"type": "string", "pattern": f"^{STREAM_NAME}$"},
        "description": "name, chosen by the caller, of a camera or video whose frames are sent one after"
        " another: faces are detected at one coarse scale and tracked, and predictions are averaged"
        " along each track",
    }
    post = {
        "summary": "Faces of a picture or several, from left to right",
        "operationId": "faces",
        "parameters": [stream],
        "requestBody": {
            "required": True,
            "description": "JPEG, PNG, WebP, GIF, BMP, TIFF or PPM, as the body, as a form's file or"
            " listed in JSON; kept in memory only, and only until it is answered",
            "content": {"application/octet-stream": binary, "image/*": binary}
            | {"multipart/form-data": form, "application/json": listed},
        },
        "responses": {
            "200": _response(
                {"anyOf": [faces, {"$ref": "#/components/schemas/Images"}]},
                "any number of faces; for a list in JSON `images`, in its order, each with its faces"
                " or, in `error`, the reason why it could not be used",
            ),
            **{status: _response(refusal, why) for status, why in _refusals(limits).items()},
        },
        "x-codeSamples": [
            {"lang": "Shell" if name == "curl" else name, "label": name, "source": source}
            for name, source in SAMPLES.items()
        ],
    }
    health = {
        "summary": "Whether the server is up; the model is loaded before it is",
        "operationId": "healthz",
        "responses": {"200": _response(_object({"status": {"const": "ok"}}), "it is")},
    }
    size = {"type": "integer", "minimum": 1, "description": "pixels of the upright picture"}
    several = {"type": "array", "items": {"anyOf": [faces, refusal]}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ageflax",
            "version": ageflax.__version__,
            "description": "Apparent age and gender of the faces in a picture. Not for age"
            " verification, nor for decisions about people.",
        },
        "servers": [{"url": ".", "description": "the folder of this document"}],
        "paths": {ENDPOINT: {"post": post}, "/healthz": {"get": health}},
        "components": {
            "schemas": {
                "Faces": _object(
                    {
                        "width": size,
                        "height": size,
                        "faces": {"type": "array", "items": {"$ref": "#/components/schemas/Face"}},
                        "seconds": {
                            **_NUMBER,
                            "description": "processing time, without waiting",
                        },
                    }
                ),
                "Images": _object({"images": several}),
                "Face": _face(model),
                "Refusal": _object(
                    {"error": {"type": "string", "description": "one sentence, for people"}}
                ),
            }
        },
    }
