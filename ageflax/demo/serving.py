"""Serves the page: the socket, the server and its limits on connections."""

import argparse
import asyncio
import collections
import ipaddress
import socket

import cv2
import numpy as np
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ageflax.demo.app import application
from ageflax.demo.limits import Limits, visitor
from ageflax.errors import InputError
from ageflax.predict import Predictor
from ageflax.predict.estimator import BATCHES
from ageflax.predict.frames import workers_here
from ageflax.runtime import compilation_cache
from ageflax.runtime.progress import say

_SHUTDOWN = 2  # seconds for running requests to finish
_KEEP_ALIVE = 15


def _patient(limits: Limits) -> type[H11Protocol]:
    """Makes a protocol with a timeout for request headers and a limit on connections per visitor.

    uvicorn's own waits for a request's header without end.
    """
    connected: collections.Counter[str] = collections.Counter()

    class Patient(H11Protocol):
        _who = ""
        _waiting: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore
            super().connection_made(transport)
            self._who = visitor(self.client[0] if self.client else "")
            connected[self._who] += 1
            if connected[self._who] > limits.connections_each:
                transport.abort()
                return
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._rest()
            connected[self._who] -= 1
            if not connected[self._who]:
                del connected[self._who]
            super().connection_lost(exc)

        def handle_events(self) -> None:
            # A connection that is kept alive has as long for the next request as for the first.
            if self._idle():
                self._wait()
            super().handle_events()
            if not self._idle():
                self._rest()

        def _idle(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _wait(self) -> None:
            if self._waiting is None:
                self._waiting = self.loop.call_later(limits.header_seconds, self._give_up)

        def _rest(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

        def _give_up(self) -> None:
            self._waiting = None
            if self._idle():
                self.transport.close()

    return Patient


def server(app: ASGIApp, limits: Limits) -> uvicorn.Server:
    """Makes a server that enforces the limits on connections, to run on a socket of the caller's."""
    config = uvicorn.Config(
        app,
        http=_patient(limits),
        ws="none",
        loop="asyncio",
        lifespan="off",
        # Visitors' addresses are private, and X-Forwarded-For can be forged.
        access_log=False,
        log_level="critical",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_SHUTDOWN,
    )
    return uvicorn.Server(config)


def _socket(host: str, port: int) -> socket.socket:
    """Opens a listening socket.

    Raises:
      InputError: this machine has no such address, or the port is taken.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InputError(f"--host={host}: no such address: {error}") from error
    family, *_, address = found[0]
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(128)
    except OSError as error:
        made.close()
        raise InputError(
            f"--host={host} --port={port}: {error.strerror or error}; --port=0 takes any free port"
        ) from error
    return made


def _is_loopback(listening: socket.socket) -> bool:
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(options: argparse.Namespace) -> None:
    """Serves until Ctrl-C; see the command's help.

    Raises:
      InputError: arguments, model or detector are bad, or the port is taken.
      KeyboardInterrupt: Ctrl-C.
    """
    limits = Limits(
        max_bytes=round(options.max_megabytes * 1e6),
        max_pixels=round(options.max_megapixels * 1e6),
        rate=options.rate,
    )
    # Before the model is loaded, which takes seconds.
    with _socket(options.host, options.port) as listening:
        if workers_here() > 1:
            # Pictures are processed in parallel, so OpenCV need not split each over the cores.
            cv2.setNumThreads(1)
        compilation_cache.enable()
        predictor = Predictor(options.model, detector=options.detector, quick=False)
        size = predictor.framing.size
        for count in BATCHES:  # compiled before the first visitor waits for it
            predictor.estimator(np.zeros((count, size, size, 3), np.uint8))
        hosts = (socket.gethostname(), options.host, *options.name)
        app = application(predictor, limits, hosts=hosts)
        if not _is_loopback(listening):
            say(
                f"--host={options.host}: the page is open to anyone who reaches this machine, without a"
                " password and unencrypted; browsers allow the camera on localhost and HTTPS only"
            )
        say(f"{_address(listening)}  (Ctrl-C ends it)")
        try:
            server(app, limits).run(sockets=[listening])
        finally:
            app.state.places.close()
