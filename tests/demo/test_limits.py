"""Size, time and number of uploads are bounded, and a refusal says so."""

import threading
import time

import pytest

from ageflax.demo.limits import Limits
from tests.demo.served import rest, serve

HEAD = b"POST /faces HTTP/1.1\r\nHost: localhost\r\n"


def test_a_busy_server_says_so_and_recovers(gated, gate, portrait):
    with serve(gated, Limits(concurrent=2)) as server:
        found = []
        waiting = [
            threading.Thread(target=lambda: found.append(server.ask(body=portrait)))
            for _ in range(3)
        ]
        for thread in waiting:
            thread.start()
        until = time.monotonic() + 30
        while not found and time.monotonic() < until:
            time.sleep(0.01)
        (answer,) = found  # whichever came last
        assert (answer.status, answer.headers["retry-after"]) == (503, "2")
        assert "Busy" in answer.said["error"]
        assert server.ask("/healthz").said == {"status": "ok"}  # while all work is blocked
        gate.opened.set()
        for thread in waiting:
            thread.join(30)
        assert [each.status for each in found] == [503, 200, 200]


@pytest.fixture(scope="module")
def small(predictor, portrait):
    """A server that takes the portrait alone, and not slowly; one request at once."""
    limits = Limits(max_bytes=len(portrait) + 500, upload_seconds=0.3, concurrent=1)
    with serve(predictor, limits) as server:
        yield server


@pytest.mark.parametrize("kind", ["raw", "chunked", "form", "JSON"])
def test_a_request_that_is_too_large_is_refused_and_read_to_its_end(small, portrait, kind):
    large = portrait + bytes(2_000_000)
    if kind == "form":
        answer = small.form(('name="image"; filename="x.jpg"', large))
    elif kind == "JSON":
        answer = small.ask(body=b'{"images": ["' + large, content_type="application/json")
    else:
        answer = small.ask(body=large if kind == "raw" else iter([large[:50_000], large[50_000:]]))
    assert answer.status == 413
    assert "Too large" in answer.said["error"]
    assert small.ask(body=portrait).status == 200


def test_a_slow_upload_ends(small):
    with small.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\nxx")
        said = rest(connection)
    assert said.startswith(b"HTTP/1.1 408")
    assert b"0.3 seconds" in said


def test_who_goes_away_gives_back_the_place(small, portrait):
    for _ in range(3):
        with small.connect() as connection:
            connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\nxx")
    until = time.monotonic() + 30
    while (status := small.ask(body=portrait).status) == 503 and time.monotonic() < until:
        time.sleep(0.02)
    assert status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(99) + b"\r\n\r\n",  # TLS
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /faces HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /faces HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET /examples/..%2f..%2fapp.py%00.jpg HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
    ],
)
def test_what_is_not_http_is_refused_and_the_server_goes_on(small, sent):
    with small.connect() as connection:
        try:
            connection.sendall(sent)
            said = rest(connection)
        except ConnectionError:
            said = b""
    assert said == b"" or said.startswith((b"HTTP/1.1 4", b"HTTP/1.1 3"))
    assert small.ask("/icon.svg").status == 200
