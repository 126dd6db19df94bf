"""Reads the picture of a request into memory, within the limits.

Form parsers of web frameworks write uploads of more than a megabyte to a temporary file. Pictures of
people should never be on a disk, so this one uses no file.
"""

import asyncio
from collections.abc import AsyncIterator

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from ageflax.demo.limits import Limits, RefusedError

# After a refusal the rest of an upload is read for at most so many seconds, up to so many times the
# limit, and discarded: the client then sees the refusal instead of a broken connection.
_DRAIN_SECONDS, _DRAIN_FACTOR = 2.0, 4
_FRAME = 65_536  # bytes of a form around its picture


def _size(count: int) -> str:
    return f"{count / 1e6:g} megabytes" if count >= 1e5 else f"{count} bytes"


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError(
        413, f"Too large: a picture may have {_size(limits.max_bytes)}; send a smaller copy."
    )


def _claimed(request: Request) -> int:
    """Content-Length; 0 if absent or malformed."""
    given = request.headers.get("content-length", "0")
    return int(given) if given.isascii() and given.isdigit() else 0


async def _drain(chunks: AsyncIterator[bytes], most: int) -> None:
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for chunk in chunks:
                most -= len(chunk)
                if most < 0:
                    return
    except TimeoutError:
        return


async def body(request: Request, limits: Limits) -> bytes:
    """Reads a request's body.

    Raises:
      RefusedError: 413, it is too large; 408, it takes too long.
      starlette.requests.ClientDisconnect: the client is gone.
    """
    most, held = limits.max_bytes + _FRAME, bytearray()
    chunks = aiter(request.stream())
    if _claimed(request) > most:
        # A client that waits for "100 Continue" is refused before it sends anything.
        if "expect" not in request.headers:
            await _drain(chunks, _DRAIN_FACTOR * limits.max_bytes)
        raise _too_large(limits)
    try:
        async with asyncio.timeout(limits.upload_seconds):
            async for chunk in chunks:
                held += chunk
                if len(held) > most:
                    break
    except TimeoutError as error:
        raise RefusedError(
            408, f"Too slow: the picture did not arrive within {limits.upload_seconds:g} seconds."
        ) from error
    if len(held) > most:
        held.clear()
        await _drain(chunks, _DRAIN_FACTOR * limits.max_bytes)
        raise _too_large(limits)
    return bytes(held)


class _Form:
    """Extracts the first part of a form that is a file or is named `image`."""

    def __init__(self) -> None:
        self.file: bytearray | None = None
        self._content = bytearray()
        self._name = self._value = b""
        self._disposition = b""

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._field,
            "on_header_value": self._field_value,
            "on_header_end": self._header,
            "on_part_data": self._data,
            "on_part_end": self._end,
        }

    def _begin(self) -> None:
        self._content, self._disposition = bytearray(), b""

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _field_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def _end(self) -> None:
        _, options = parse_options_header(self._disposition)
        if self.file is None and (b"filename" in options or options.get(b"name") == b"image"):
            self.file = self._content


def _from_form(content: bytes, kind: str) -> bytes:
    _, options = parse_options_header(kind)
    form = _Form()
    try:
        parser = MultipartParser(options[b"boundary"], form.callbacks())  # pyright: ignore[reportArgumentType]
        parser.write(content)
        parser.finalize()
    except (KeyError, ValueError, FormParserError) as error:
        raise RefusedError(400, "The form (multipart/form-data) is damaged.") from error
    if form.file is None:
        raise RefusedError(400, "The form has no picture: send it as a part named `image`.")
    return bytes(form.file)


async def picture(request: Request, limits: Limits) -> bytes:
    """Reads the bytes of the picture in a request, from its body or a form.

    Raises:
      RefusedError: 400, a damaged form; 408, too slow; 413, too large.
      starlette.requests.ClientDisconnect: the client is gone.
    """
    content = await body(request, limits)
    kind = request.headers.get("content-type", "")
    if kind.lower().startswith("multipart/form-data"):
        content = _from_form(content, kind)
    if len(content) > limits.max_bytes:
        raise _too_large(limits)
    return content
