"""POST /faces answers pictures and refuses everything else."""

import base64
import io
import json
import shutil
import struct
import subprocess
import sys
import zlib

import cv2
import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from starlette.exceptions import HTTPException

from ageflax.demo import looking, upload
from ageflax.demo.limits import Limits
from tests.demo.served import serve


def encoded(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def claiming(width, height):
    """A PNG of a few bytes that claims a size."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


@pytest.fixture(scope="module")
def document(served):
    return served.ask("/openapi.json").said


def checked(document, name, said):
    schema = {**document, "$ref": f"#/components/schemas/{name}"}
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(said, schema, jsonschema.Draft202012Validator)


def test_it_says_what_predict_says(served, predictor, portrait, document):
    answer = served.ask(body=portrait)
    assert answer.status == 200
    (face,) = predictor([portrait])
    assert answer.said["faces"] == [face.to_dict()]
    assert (answer.said["width"], answer.said["height"]) == (256, 256)
    checked(document, "Faces", answer.said)


@pytest.mark.parametrize(
    "named",
    ['name="image"; filename="a b.jpg"', 'name="whatever"; filename="x"'],
)
def test_a_form_is_as_good(served, portrait, named):
    others = ('name="before"', b"1"), ('name="after"', b"2")
    answer = served.form(others[0], (named, portrait), others[1])
    assert answer.status == 200
    assert answer.said["faces"] == served.ask(body=portrait).said["faces"] != []


def test_forms_without_a_picture_and_damaged_ones(served, portrait):
    assert served.form(('name="image"', b"1")).status == 400  # no file
    assert served.form().status == 400
    for kind in ("multipart/form-data", "multipart/form-data; boundary=other"):
        answer = served.ask(body=b"--border\r\n\r\nx", content_type=kind)
        assert answer.status == 400, kind
        assert "form" in answer.said["error"]
    cut = b'--border\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + portrait
    answer = served.ask(body=cut, content_type="multipart/form-data; boundary=border")
    assert answer.status == 400


def listed(server, images, **headers):
    body = json.dumps({"images": images})
    return server.ask(body=body, **{"content_type": "application/json; charset=utf-8", **headers})


def test_a_list_is_answered_picture_by_picture(served, portrait, document):
    text = base64.b64encode(portrait).decode()
    nobody = base64.b64encode(NOBODY["grey"]).decode()
    images = [
        text,
        f"data:image/jpeg;base64,{text}",
        "photo.jpg",
        nobody,
        "aGVsbG8=",
        "",
        text[:400],
    ]
    wrapped = "\n".join(text[k : k + 76] for k in range(0, len(text), 76))
    answer = listed(served, [*images, wrapped])
    assert answer.status == 200
    checked(document, "Images", answer.said)
    answers = answer.said["images"]
    alone = served.ask(body=portrait).said
    for place in (0, 1, 7):
        assert {**answers[place], "seconds": alone["seconds"]} == alone
    words = ["Not base64", "Not a picture", "No picture", "damaged"]
    for place, reason in zip((2, 4, 5, 6), words, strict=True):
        assert reason in answers[place]["error"]
    assert (answers[3]["faces"], answers[3]["width"]) == ([], 60)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"image": "x"}', b'{"images": []}', b'{"images": "eA=="}',
     b'{"images": ["eA==", 1]}', b'{"images": {"0": "eA=="}}', b"\xff\xfe", b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_list_is_refused(served, content):
    answer = served.ask(body=content, content_type="application/json")
    assert (answer.status, "not" in answer.said["error"]) == (400, True)


def test_lists_are_bounded(predictor, portrait):
    text = base64.b64encode(portrait).decode()
    with serve(predictor, Limits(max_pictures=3, max_pixels=2 * 256 * 256)) as small:
        answer = listed(small, ["x"] * 4)
        assert (answer.status, "3 pictures" in answer.said["error"]) == (413, True)
        # Together they may have as many pixels as one alone.
        first, second, third = listed(small, [text] * 3).said["images"]
    assert len(first["faces"]) == len(second["faces"]) == 1
    assert "0.131072 megapixels" in third["error"]


@given(st.text() | st.binary().map(lambda content: base64.b64encode(content).decode()))
def test_any_text_is_a_picture_or_refused(text):
    try:
        assert isinstance(upload.decoded(text), bytes)
    except HTTPException as error:
        assert error.status_code == 400


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.just("images") | st.text(), inner),
    max_leaves=8,
)


@given(st.binary() | _JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_a_list_or_refused(content):
    try:
        texts = upload.listed(content, Limits())
        assert all(isinstance(text, str) for text in texts)
    except HTTPException as error:
        assert error.status_code in (400, 413)


@pytest.mark.parametrize(
    ("language", "program"),
    [
        ("curl", ["sh", "-c"]),
        ("Python", [sys.executable, "-c"]),
        ("JavaScript", ["node", "--input-type=module", "-e"]),
    ],
)
def test_documented_samples_run(served, document, portrait, tmp_path, language, program):
    samples = document["paths"]["/faces"]["post"]["x-codeSamples"]
    (source,) = [sample["source"] for sample in samples if sample["label"] == language]
    needed = language if language == "curl" else program[0]
    if shutil.which(needed) is None:
        pytest.skip(f"without {needed}")
    (tmp_path / "photo.jpg").write_bytes(portrait)
    source = source.replace("127.0.0.1:7860", served.host)
    done = subprocess.run([*program, source], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    x, *_ = served.ask(body=portrait).said["faces"][0]["box"]
    assert str(x) in done.stdout


def test_the_documented_example_is_answered(served, document):
    content = document["paths"]["/faces"]["post"]["requestBody"]["content"]
    answers = listed(served, content["application/json"]["example"]["images"]).said["images"]
    assert [answer["faces"] for answer in answers] == [[], []]


def test_a_stream_has_tracks_and_averages(served, portrait, document):
    answers = [served.ask("/faces?stream=camera-one", portrait).said for _ in range(3)]
    faces = [answer["faces"][0] for answer in answers]
    assert [face["track"] for face in faces] == [1, 1, 1]
    assert [face["frame"] for face in faces] == [0, 1, 2]
    assert [face["smoothing"]["frames"] for face in faces] == [1, 2, 3]
    other = served.ask("/faces?stream=camera-two", portrait).said["faces"][0]
    assert (other["track"], other["frame"]) == (1, 0)
    checked(document, "Faces", answers[2])


@pytest.mark.parametrize(
    "name", ["", "short", "a" * 65, "with%20space", "..%2F..%2Fetc", "%00" * 9]
)
def test_streams_have_plain_names(served, portrait, name):
    answer = served.ask(f"/faces?stream={name}", portrait)
    assert answer.status == 400
    assert "stream" in answer.said["error"]


def test_streams_are_forgotten(predictor, portrait, monkeypatch):
    monkeypatch.setattr(looking, "_STREAMS", 2)
    look = looking.Looker(predictor, Limits())
    for name in ("first", "second", "first", "third"):
        look(portrait, stream=name)
    # The second was silent the longest.
    frames = [look(portrait, stream=name)["faces"][0]["frame"] for name in ("first", "second")]
    assert frames == [2, 0]


GREY = Image.fromarray(np.full((40, 60), 128, np.uint8))
NOBODY = {
    "grey": encoded(GREY, "PNG"),
    "1x1": encoded(GREY.resize((1, 1)), "JPEG"),
    "40,000 x 1": encoded(GREY.resize((40_000, 1)), "PNG"),
    "1 x 40,000": encoded(GREY.resize((1, 40_000)), "JPEG", quality=50),
    "alpha": encoded(GREY.convert("LA"), "PNG"),
    "CMYK": encoded(GREY.convert("CMYK"), "JPEG"),
    "16 bit": encoded(Image.fromarray(np.full((9, 9), 40_000, np.uint16)), "PNG"),
    "animated GIF": encoded(GREY, "GIF", save_all=True, append_images=[GREY, GREY]),
    "animated WebP": encoded(GREY, "WEBP", save_all=True, append_images=[GREY]),
}


@pytest.mark.parametrize("kind", NOBODY)
def test_a_picture_without_a_face_is_no_error(served, kind):
    answer = served.ask(body=NOBODY[kind])
    assert (answer.status, answer.said["faces"]) == (200, [])


def jpeg():
    noise = np.random.default_rng(0).integers(0, 255, (80, 80, 3), np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


BAD = {
    "nothing": (b"", 400, "No picture"),
    "text named .jpg": (b"hello, this is no picture\n" * 9, 415, "Not a picture"),
    "HTML named .jpg": (b"<!doctype html><title>404</title>", 415, "Not a picture"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "Not a picture"),
    "PDF": (b"%PDF-1.7\n%" + bytes(99), 415, "Not a picture"),
    "EPS, which would start a program": (b"%!PS-Adobe-3.0 EPSF-3.0\n", 415, "Not a picture"),
    "zeros": (bytes(5000), 415, "Not a picture"),
    "one byte": (b"\xff", 415, "Not a picture"),
    "a JPEG's first bytes": (jpeg()[:20], 422, "damaged"),
    "half a JPEG": (jpeg()[: len(jpeg()) // 2], 422, "damaged"),
    "half a PNG": (encoded(GREY, "PNG")[:60], 422, "damaged"),
    "30,000 x 30,000 claimed": (claiming(30_000, 30_000), 413, "50 megapixels"),
    "2^31 - 1 claimed": (claiming(2**31 - 1, 2**31 - 1), 413, "50 megapixels"),
    "GIF of a header": (b"GIF89a", 422, "damaged"),
    "pickle": (b"\x80\x04\x95\x1f\x00\x00\x00cposix\nsystem\n.", 415, "Not a picture"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_picture_is_refused_in_one_sentence(served, kind, document):
    content, status, words = BAD[kind]
    answer = served.ask(body=content)
    assert answer.status == status
    assert words in answer.said["error"]
    assert "\n" not in answer.said["error"]
    assert str(status) in document["paths"]["/faces"]["post"]["responses"]
    checked(document, "Refusal", answer.said)


def test_megapixels_are_bounded_before_they_are_decoded(predictor, portrait):
    with serve(predictor, Limits(max_pixels=256 * 256 - 1)) as small:
        answer = small.ask(body=portrait)
    assert answer.status == 413
    assert "0.065535 megapixels" in answer.said["error"]


def test_a_model_that_fails_is_told_in_general(served, portrait, monkeypatch, predictor, capfd):
    from ageflax.errors import RunError

    def fail(*_, **__):
        raise RunError("/secret/path: its answers are not finite")

    monkeypatch.setattr(predictor, "faces", fail)
    answer = served.ask(body=portrait)
    assert answer.status == 500
    assert "secret" not in answer.said["error"]
    assert "not finite" in capfd.readouterr().err


def test_a_mistake_of_ours_is_logged_and_the_server_goes_on(
    served, portrait, monkeypatch, predictor, caplog
):
    monkeypatch.setattr(predictor, "faces", lambda *_: 1 / 0)
    answer = served.ask(body=portrait)
    assert (answer.status, "failed" in answer.said["error"]) == (500, True)
    assert "content-security-policy" in answer.headers
    assert "ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    assert served.ask(body=portrait).status == 200


def test_two_users_get_each_their_own(served, predictor, portrait):
    from concurrent.futures import ThreadPoolExecutor

    image = cv2.imdecode(np.frombuffer(portrait, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    mirrored = cv2.imencode(".png", cv2.flip(image, 1))[1].tobytes()
    wanted = {c: [face.to_dict() for face in predictor([c])] for c in (portrait, mirrored)}
    assert wanted[portrait] != wanted[mirrored]
    with ThreadPoolExecutor(2) as users:
        asked = [portrait, mirrored] * 8
        answers = list(users.map(lambda content: served.ask(body=content).said["faces"], asked))
    assert answers == [wanted[content] for content in asked]
