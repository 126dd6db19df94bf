"""A server of the page in a thread, and a client that can send malformed requests."""

import contextlib
import dataclasses
import http.client
import json
import socket
import threading
import time
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Mount

from ageflax.demo import serving
from ageflax.demo.app import application


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> Any:
        return json.loads(self.body)


@dataclasses.dataclass
class Served:
    port: int

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(self, path="/faces", body=None, *, method=None, **headers) -> Answer:
        """Sends one request on its own connection; `host_=...` is the header Host."""
        named = {name.strip("_").replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method or ("GET" if body is None else "POST"), path, body, named)
            response = connection.getresponse()
            given = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, given, response.read())

    def form(self, *parts: tuple[str, bytes], path="/faces") -> Answer:
        """Sends a multipart form of (Content-Disposition, content)."""
        body = b"".join(
            b"--border\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n"
            % (named.encode(), content)
            for named, content in parts
        )
        kind = "multipart/form-data; boundary=border"
        return self.ask(path, body + b"--border--\r\n", content_type=kind)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


@contextlib.contextmanager
def serve(predictor, limits=None, *, hosts=(), below=""):
    """Serves the page, at a path as a proxy that strips it does; gives the running server."""
    app = application(predictor, limits, hosts=hosts)
    server = serving.server(Starlette(routes=[Mount(below, app)]) if below else app)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            yield Served(listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def rest(connection: socket.socket) -> bytes:
    """Reads until the other side closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            found += part
    return found
