"""The page shows card, limits and examples, works below any path, and loads nothing external or inline."""

import dataclasses
import html.parser
import re
from urllib.parse import urljoin

import cv2
import numpy as np
import pytest

from ageflax.demo import page
from ageflax.demo.examples import PORTRAITS, examples, picture
from ageflax.demo.limits import Limits
from ageflax.predict.detectors import Haar, Mtcnn
from tests.demo.served import serve

_VOID = {"meta", "img", "br", "link", "input"}


class Parsed(html.parser.HTMLParser):
    """Parses elements with their attributes and all text; checks the nesting."""

    def __init__(self, source):
        super().__init__()
        self.elements, self.text, self.open = [], "", []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def values(self, *names):
        return [v for _, given in self.elements for k, v in given.items() if k in names]


@pytest.fixture(scope="module")
def parsed(served):
    return Parsed(served.ask("/").body.decode())


def test_it_works_below_any_path(predictor, portrait):
    with serve(predictor, below="/faces-demo/v1") as server:
        page = Parsed(server.ask("/faces-demo/v1/").body.decode())
        for address in page.values("src", "href", "data-example"):
            assert server.ask(urljoin("/faces-demo/v1/", address)).status == 200, address
        (endpoint,) = page.values("data-endpoint")
        assert len(server.ask(urljoin("/faces-demo/v1/", endpoint), portrait).said["faces"]) == 1
        document = server.ask("/faces-demo/v1/openapi.json").said
        base = urljoin("/faces-demo/v1/openapi.json", document["servers"][0]["url"])
        assert {base.rstrip("/") + path for path in document["paths"]} == {
            "/faces-demo/v1/faces",
            "/faces-demo/v1/healthz",
        }
        assert server.ask("/faces-demo/v1/healthz").said == {"status": "ok"}


def test_the_card_and_its_limits_are_in_view(parsed):
    words = " ".join(parsed.text.split())
    assert "levi_hassner: age and gender from a face" in words
    assert "Not for age verification, nor for decisions about people" in words
    assert words.count("Not for age verification") == 1
    assert "Preprocessing" in words
    assert "bundle.load" not in words  # for Python users
    assert parsed.text.index("Not for age verification") < parsed.text.index("Model card")


def test_nothing_comes_from_elsewhere_and_nothing_is_inline(parsed, served):
    for address in parsed.values("src", "href", "action"):
        assert re.fullmatch(r"[\w/]+\.\w+", address), address
    names = {name for _, given in parsed.elements for name in given}
    assert not any(name.startswith("on") or name == "style" for name in names)
    scripts = [given for tag, given in parsed.elements if tag == "script"]
    assert [given["src"] for given in scripts] == ["demo.js"]
    for address in ("/demo.js", "/demo.css"):
        text = served.ask(address).body.decode()
        assert not re.search(r"https?://|@import|url\(|innerHTML|\beval\(", text), address


def test_all_that_can_be_used_has_a_name(parsed, served):
    assert len(parsed.values("id")) == len(set(parsed.values("id")))
    ids = set(parsed.values("id"))
    used = re.findall(r'byId\("([\w-]+)"\)', served.ask("/demo.js").body.decode())
    assert set(used) <= ids
    for tag, given in parsed.elements:
        if tag in ("video", "canvas", "input"):
            assert given.get("aria-label"), (tag, given)
        if tag == "img":
            assert "alt" in given
    roles = parsed.values("role")
    assert (
        {"alert", "status", "group", "note"}
        >= set(roles) - {"img", "region"}
        >= {"alert", "status"}
    )
    assert ("html", {"lang": "en"}) in parsed.elements


def with_data(predictor, **values):
    """The model's description with other values of its data."""
    described = predictor.description
    return dataclasses.replace(described, data={**described.data, **values})


def test_the_licence_is_told(predictor):
    bound = with_data(predictor, name="faces", licence="Research only.")
    assert (
        "Research only." in page.render(bound, Limits(), detector="haar").split('class="desk"')[0]
    )
    free = with_data(predictor, licence="Apache-2.0")
    assert 'class="notice"' not in page.render(free, Limits(), detector="haar")


def test_words_of_a_model_are_words_alone(predictor):
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)> [a](javascript:alert(1)) ![b](http://evil.example/p.png)"
    described = with_data(predictor, name=evil, licence=evil)
    parsed = Parsed(page.render(described, Limits(), detector=evil))
    assert [given.get("src") for tag, given in parsed.elements if tag == "script"] == ["demo.js"]
    assert not any("onerror" in given for _, given in parsed.elements)
    assert not any("evil" in v or "javascript" in v for v in parsed.values("src", "href"))
    assert "<script>alert(1)</script>" in parsed.text


def test_limits_are_stated_as_they_are(predictor):
    limits = Limits(max_bytes=3_000_000, max_pictures=7)
    text = page.render(predictor.description, limits, detector="haar")
    assert 'data-most-bytes="3000000"' in text
    assert "more than 3 megabytes, 50 megapixels or 7 pictures" in text


def test_examples_are_drawn_people_of_all_ages_whom_detectors_find(served, parsed):
    addresses = parsed.values("data-example")
    assert len(addresses) == len(examples()) == len(PORTRAITS) + 1
    detectors = Haar(), Mtcnn()
    for address in addresses:
        answer = served.ask(f"/{address}")
        assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
        image = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        if "group" not in address:
            for detector in detectors:
                assert len(detector(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))) == 1, address
    ages = [int(example.caption.split(", ")[1]) for example in examples()[:-1]]
    assert ages == sorted(ages)
    assert {example.caption.split(",")[0] for example in examples()[:-1]} == {"female", "male"}


def test_there_is_no_other_example():
    for name in ("", "x", "999", "28 ", "../28", "-1"):
        with pytest.raises(KeyError):
            picture(name)
