"""Size, speed and number of uploads are bounded, and a refusal says so."""

import threading
import time

import pytest

from ageflax.demo import limits
from ageflax.demo.limits import Limits, Places, Rate, RefusedError
from tests.demo.served import rest, serve

HEAD = b"POST /faces HTTP/1.1\r\nHost: localhost\r\n"


def test_a_bucket_fills_with_time():
    now = [0.0]
    rate = Rate(2.0, clock=lambda: now[0])
    for _ in range(4):
        rate.take("one")
    with pytest.raises(RefusedError, match="at most 2 per second") as refused:
        rate.take("one")
    assert (refused.value.status, refused.value.retry_after) == (429, 0.5)
    rate.take("another")
    now[0] = 0.5
    rate.take("one")
    with pytest.raises(RefusedError):
        rate.take("one")
    now[0] = 1000.0  # it does not overflow
    for _ in range(4):
        rate.take("one")
    with pytest.raises(RefusedError):
        rate.take("one")


def test_a_slow_bucket_still_gives_its_first():
    rate = Rate(0.1, clock=lambda: 0.0)
    rate.take("one")
    with pytest.raises(RefusedError) as refused:
        rate.take("one")
    assert refused.value.retry_after == pytest.approx(10.0)


def test_buckets_are_not_kept_for_everybody(monkeypatch):
    monkeypatch.setattr(limits, "_VISITORS", 10)
    rate = Rate(1.0, clock=lambda: 0.0)
    for k in range(100):
        rate.take(str(k))
    assert len(rate._buckets) == 10


@pytest.mark.parametrize(
    ("address", "who"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::%eth0/64"),
        ("", ""),
    ],
)
def test_an_ipv6_household_is_one_visitor(address, who):
    found = limits.visitor(address)
    assert found == who or (address.startswith("fe80") and found.startswith("fe80::"))


def test_places_are_given_back():
    places = Places(Limits(places=3, places_each=2), workers=1)
    with places.place("a"), places.place("a"):
        with pytest.raises(RefusedError, match="at once: at most 2") as each, places.place("a"):
            pass
        assert each.value.status == 429
        with places.place("b"):
            with pytest.raises(RefusedError, match="Busy") as all_taken, places.place("c"):
                pass
            assert all_taken.value.status == 503
        with pytest.raises(ZeroDivisionError), places.place("c"):
            _ = 1 / 0
        with places.place("c"):
            pass
    assert not places._taken
    places.close()


def test_too_many_requests_are_told_when_to_come_back(predictor):
    with serve(predictor, Limits(rate=0.5)) as server:
        answers = [server.ask(body=b"x") for _ in range(3)]
        assert [answer.status for answer in answers] == [415, 429, 429]
        assert "at most 0.5 per second" in answers[1].said["error"]
        assert 1 <= int(answers[1].headers["retry-after"]) <= 2
        assert server.ask("/").status == 200  # the page itself is not limited


def test_a_busy_server_says_so_and_recovers(gated, gate, portrait):
    with serve(gated, Limits(places_each=3)) as server:
        found = []  # of four, whichever comes last is refused
        waiting = [
            threading.Thread(target=lambda: found.append(server.ask(body=portrait)))
            for _ in range(4)
        ]
        for thread in waiting:
            thread.start()
        assert gate.begun.acquire(timeout=30)
        until = time.monotonic() + 30
        while not found and time.monotonic() < until:
            time.sleep(0.01)
        (answer,) = found
        assert answer.status == 429
        assert "at once: at most 3" in answer.said["error"]
        assert answer.headers["retry-after"] == "1"
        assert server.ask("/").status == 200  # while all work is blocked
        gate.opened.set()
        for thread in waiting:
            thread.join(30)
        assert [each.status for each in found] == [429, 200, 200, 200]
        assert server.ask(body=portrait).status == 200


@pytest.mark.parametrize("kind", ["told", "chunked", "a form"])
def test_an_upload_that_is_too_large_is_refused(predictor, portrait, kind):
    with serve(predictor, Limits(max_bytes=len(portrait))) as server:
        assert server.ask(body=portrait).status == 200
        large = portrait + bytes(100_000)
        if kind == "told":
            answer = server.ask(body=large)
        elif kind == "chunked":
            answer = server.ask(body=iter([large[:50_000], large[50_000:]]))
        else:
            answer = server.form(('name="image"; filename="x.jpg"', portrait + b"x"))
        assert answer.status == 413
        assert "Too large" in answer.said["error"]
        assert answer.headers["connection"] == "close"


def test_an_upload_without_end_is_not_read_to_its_end(predictor):
    with serve(predictor, Limits(max_bytes=1000)) as server, server.connect() as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        try:
            while sent < 50_000_000:
                connection.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
                sent += 65536
        except OSError:
            pass
        assert sent < 50_000_000


def test_a_claim_alone_is_refused_before_anything_is_sent(predictor):
    with serve(predictor) as server, server.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n")
        said = rest(connection)
    assert said.startswith(b"HTTP/1.1 413")
    assert b"16 megabytes" in said


def test_a_slow_upload_ends(predictor):
    with (
        serve(predictor, Limits(upload_seconds=0.3)) as server,
        server.connect() as connection,
    ):
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\nxx")
        said = rest(connection)
    assert said.startswith(b"HTTP/1.1 408")
    assert b"0.3 seconds" in said


@pytest.mark.parametrize("sent", [b"", b"POST /faces HTTP/1.1\r\nHost: loc", None])
def test_a_connection_that_asks_for_nothing_is_closed(predictor, sent):
    with (
        serve(predictor, Limits(header_seconds=0.3)) as server,
        server.connect() as connection,
    ):
        if sent is None:  # also after a first request
            connection.sendall(b"GET /icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        else:
            connection.sendall(sent)
        said = rest(connection)
    assert said == b"" if sent is not None else said.startswith(b"HTTP/1.1 200")


def test_one_address_does_not_take_all_connections(predictor):
    with serve(predictor, Limits(connections_each=2)) as server:
        with server.connect() as first, server.connect() as second:
            for connection in (first, second):
                connection.sendall(b"GET /icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert connection.recv(15) == b"HTTP/1.1 200 OK"
            with server.connect() as third:
                assert rest(third) == b""
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                assert server.ask("/icon.svg").status == 200
                break
            except ConnectionError:  # the two are still open
                time.sleep(0.02)
        else:
            pytest.fail("places of closed connections are not given back")


def test_who_goes_away_gives_back_the_place(predictor, portrait):
    with serve(predictor, Limits(places=1)) as server:
        for _ in range(3):
            with server.connect() as connection:
                connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\nxx")
                time.sleep(0.05)
        until = time.monotonic() + 30
        while (status := server.ask(body=portrait).status) == 503 and time.monotonic() < until:
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
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
    ],
)
def test_what_is_not_http_is_refused_and_the_server_goes_on(served, sent):
    with served.connect() as connection:
        try:
            connection.sendall(sent)
            said = rest(connection)
        except ConnectionError:
            said = b""
    assert said == b"" or said.startswith((b"HTTP/1.1 4", b"HTTP/1.1 3"))
    assert served.ask("/icon.svg").status == 200
