"""Under a bounded flood every request is answered, refused or cut off, and the server carries on."""

import contextlib
import random
import socket
import threading
import time

import pytest

from ageflax.demo.limits import Limits
from tests.demo.served import rest, serve
from tests.hostile.mutate import mutated

_HEAD = b"POST /faces HTTP/1.1\r\nHost: localhost\r\n"
_LIMITS = Limits(
    max_bytes=100_000, rate=1000.0, upload_seconds=0.5, header_seconds=0.5, places=6, places_each=4,
    connections=40, connections_each=20,
)  # fmt: skip


def _wave(server, portrait, number):
    """Sends one client's bytes, which may be cut off anywhere; returns the status, or None without one."""
    draw = random.Random(number)
    large = b"x" * 300_000
    form = (
        b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + portrait + b"\r\n--b--\r\n"
    )
    told = b"Content-Length: %d\r\n"
    sent = [
        _HEAD + told % len(portrait) + b"\r\n" + portrait,
        _HEAD + told % len(large) + b"\r\n" + large,  # too large
        _HEAD + b"Content-Length: 99999999999\r\n\r\nx",  # and more than it sends
        _HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"8000\r\n" + bytes(0x8000) + b"\r\n",  # no end
        _HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
        _HEAD + told % 1000 + b"\r\nx",  # slow
        _HEAD + told % len(form) + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + form,
        _HEAD[:30],  # half a request
        b"",
        _HEAD + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /examples/..%2f..%2fapp.py%00.jpg HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ]  # fmt: skip
    content = sent[number % len(sent)]
    if number % 3 == 2:
        content = mutated(draw, [_HEAD + told % 2000 + b"\r\n" + portrait[:2000], content])
    with contextlib.suppress(OSError), server.connect() as connection:
        connection.settimeout(20)
        connection.sendall(content)
        if number % 4 == 1:
            connection.shutdown(socket.SHUT_WR)
        if number % 7 == 0:
            return None  # goes away without listening
        line = rest(connection).partition(b"\r\n")[0].split()
        return int(line[1]) if len(line) > 1 else None
    return None


@pytest.mark.parametrize(
    ("requests", "clients"), [(36, 6), pytest.param(5000, 24, marks=pytest.mark.long)]
)
def test_it_goes_on_answering_after_a_flood(predictor, portrait, requests, clients):
    with serve(predictor, _LIMITS) as server:
        assert server.ask(body=portrait).status == 200
        statuses, numbers, lock = [], iter(range(requests)), threading.Lock()

        def client():
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                statuses.append(_wave(server, portrait, number))

        threads = [threading.Thread(target=client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(1200)
        assert len(statuses) == requests  # nobody waits forever
        assert set(statuses) <= {
            None,
            200,
            400,
            404,
            405,
            408,
            411,
            413,
            415,
            421,
            422,
            429,
            431,
            503,
        }
        assert {413, 408} <= set(statuses)  # too large and too slow are refused
        until = time.monotonic() + 30
        while (answer := _asked(server, portrait)) != 200 and time.monotonic() < until:
            time.sleep(0.05)
        assert answer == 200
        assert _asked(server, None) == 200


def _asked(server, body):
    """The status; None if the connection is refused because earlier ones are still open."""
    try:
        return (server.ask(body=body) if body else server.ask("/")).status
    except (OSError, EOFError):
        return None


def test_connections_that_ask_nothing_leave_room_for_others(predictor):
    with serve(predictor, _LIMITS) as server, contextlib.ExitStack() as stack:
        for _ in range(3 * _LIMITS.connections_each):
            with contextlib.suppress(OSError):
                stack.enter_context(server.connect())
        until = time.monotonic() + 30
        while (status := _asked(server, None)) != 200 and time.monotonic() < until:
            time.sleep(0.05)
        assert status == 200  # they were cut off, though the clients keep them open
