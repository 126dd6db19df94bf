"""What every answer carries, and who may ask: against pages elsewhere that would use this one."""

import ipaddress
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Everything comes from here, and nothing may frame or post to anywhere. The camera is the page's own.
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:;"
        " media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def _host(authority: str) -> str:
    """The name in host:port; empty where it is no such thing."""
    try:
        parts = urlsplit(f"//{authority}")
        _ = parts.port  # a bad one raises
    except ValueError:
        return ""
    return (parts.hostname or "") if not (parts.path or parts.query or parts.username) else ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Guard:
    """Lets requests through that name this server, and from its own pages; adds the headers.

    A page elsewhere could have its own name point to this machine (DNS rebinding), and then read what is
    answered. Such a request has that name as its Host, so only addresses and known names are answered.

    Args:
      app: what is guarded.
      hosts: names under which it may be asked, besides localhost and addresses.
    """

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str] = ()):
        self._app = app
        self._hosts = {"localhost", *(host.lower() for host in hosts)}

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key = name.decode("latin-1")
            if key == "host" and key in headers:
                return 400, "The request names two hosts."
            headers[key] = value.decode("latin-1")
        host = _host(headers.get("host", ""))
        if not (_is_address(host) or host in self._hosts):
            return (
                421,
                "This server is not known by that name; see --name of python -m ageflax.demo.",
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != headers["host"].lower():
            return 403, "Other sites' pages may not use this server."
        if headers.get("sec-fetch-site") == "cross-site" and scope["method"] != "GET":
            return 403, "Other sites' pages may not use this server."
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = list(message.get("headers", []))
                there = {name.lower() for name, _ in kept}
                extra = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = kept + [(n, v) for n, v in extra if n not in there]
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, guarded)
            return
        status, text = refusal
        await _answer(guarded, status, {"error": text})


async def _answer(send: Send, status: int, said: Any) -> None:
    content = json.dumps(said).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
