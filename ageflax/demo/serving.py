"""Serves the page: the socket and the server."""

import argparse
import ipaddress
import socket

import cv2
import numpy as np
import uvicorn
from starlette.types import ASGIApp

from ageflax.demo.app import application
from ageflax.demo.limits import Limits
from ageflax.errors import InputError
from ageflax.predict import Predictor
from ageflax.predict.estimator import BATCHES
from ageflax.predict.frames import workers_here
from ageflax.runtime import compilation_cache
from ageflax.runtime.progress import say

_SHUTDOWN = 2  # seconds for running requests to finish
_KEEP_ALIVE = 15  # seconds
_CONNECTIONS = 256


def server(app: ASGIApp) -> uvicorn.Server:
    """Makes a server, to run on a socket of the caller's."""
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="off",
        # Visitors' addresses are private, and X-Forwarded-For can be forged.
        access_log=False,
        log_level="critical",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
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
        server(app).run(sockets=[listening])
