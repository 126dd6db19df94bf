"""Only its own pages, under known host names, may use the server; all answers have security headers."""

import pytest

from tests.demo.served import serve


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:7860",
        "127.0.0.1:1",
        "[::1]:7860",
        "192.168.1.5",
        "LocalHost",
        "[::1]",
    ],
)
def test_addresses_and_localhost_are_known(served, host):
    assert served.ask("/", host_=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7860",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost:x",
        "user@localhost",
        "localhost/x",
        "[::1",
        "",
        "127.1.evil",
    ],
)
def test_a_name_that_is_not_known_is_refused(served, host, portrait):
    for body in (None, portrait):
        answer = served.ask("/faces" if body else "/", body, host_=host)
        assert answer.status == 421
        assert "--name" in answer.said["error"]


def test_a_name_that_is_given_is_known(predictor):
    with serve(predictor, hosts=("Faces.example",)) as server:
        assert server.ask("/", host_="faces.example:80").status == 200
        assert server.ask("/", host_="other.example").status == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "x"])
def test_pages_of_others_may_not_ask(served, portrait, origin):
    answer = served.ask(body=portrait, origin=origin)
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers
    assert served.ask("/faces", method="OPTIONS", origin=origin).status == 403


@pytest.mark.parametrize(
    ("site", "status"),
    [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403)],
)
def test_browsers_say_whose_page_asks(served, portrait, site, status):
    # As behind a proxy that puts its own name into Host.
    headers = {"origin": "https://faces.example", "sec_fetch_site": site}
    assert served.ask(body=portrait, **headers).status == status
    assert served.ask("/", **headers).status == 200  # a link from elsewhere


def test_the_page_itself_and_programs_may(served, portrait):
    assert served.ask(body=portrait, origin=f"http://{served.host}").status == 200
    assert served.ask(body=portrait).status == 200


@pytest.mark.parametrize("path", ["/", "/demo.js", "/openapi.json", "/nothing", "/faces"])
def test_every_answer_has_the_headers(served, path):
    headers = served.ask(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert not any(word in policy for word in ("http", "*", "unsafe"))
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["permissions-policy"].startswith("camera=(self)")
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_refusals_have_them_too(served):
    assert "content-security-policy" in served.ask("/", host_="evil.example").headers


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/nothing", "GET", 404),
        ("/faces", "GET", 405),
        ("/", "POST", 405),
        ("/examples/../pyproject.toml", "GET", 404),
        ("/examples/..%2f..%2fx.jpg", "GET", 404),
        ("/examples/999.jpg", "GET", 404),
        ("/demo.css/x", "GET", 404),
    ],
)
def test_other_paths_and_methods(served, path, method, status):
    answer = served.ask(path, method=method)
    assert answer.status == status
    assert answer.said["error"]


def test_faces_are_not_kept_by_browsers(served, portrait):
    assert served.ask(body=portrait).headers["cache-control"] == "no-store"
