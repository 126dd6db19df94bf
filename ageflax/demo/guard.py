"""Guard middleware: refuses requests from other sites' pages and adds the security headers."""

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Everything is loaded from this server; nothing may frame it or post elsewhere; only its own page may
# use the camera.
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
    """The name in host:port; empty if malformed."""
    try:
        parts = urlsplit(f"//{authority}")
        _ = parts.port  # raises if malformed
    except ValueError:
        return ""
    return (parts.hostname or "") if not (parts.path or parts.query or parts.username) else ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_foreign(headers: Headers) -> bool:
    """True if a page of another site asks.

    Browsers say so themselves, on HTTPS and localhost; behind a proxy, which may put a name of its own
    into Host, nothing else tells. Where they do not, the origin must be the host.
    """
    if (site := headers.get("sec-fetch-site")) is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != headers["host"].lower()


class Guard:
    """Passes requests that name this server and come from its own pages; adds the headers.

    A page elsewhere could point its own name to this machine (DNS rebinding) and then read the answers.
    Such a request has that name as its Host, so only addresses and known names are served.

    Args:
      app: application behind the guard.
      hosts: names of the server, besides localhost and addresses.
    """

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str] = ()):
        self._app = app
        self._hosts = {"localhost", *(host.lower() for host in hosts)}

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and message for a request that is refused."""
        headers = Headers(scope=scope)
        host = _host(headers.get("host", ""))
        if not (_is_address(host) or host in self._hosts):
            return 421, "Unknown host name; start the server with --name=HOST to allow it."
        # Links from elsewhere lead to the page.
        if scope["method"] not in ("GET", "HEAD") and _is_foreign(headers):
            return 403, "Pages of other sites may not use this server."
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request as ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        answer = self._app
        if refusal is not None:
            status, text = refusal
            answer = JSONResponse({"error": text}, status, {"connection": "close"})
        await answer(scope, receive, guarded)
