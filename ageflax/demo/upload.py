"""A picture out of a request, in memory alone and no more of it than is allowed.

The forms of web frameworks put uploads of more than a megabyte into a temporary file; pictures of people
should be nowhere on a disk, so this one has no file at all.
"""

import asyncio
from collections.abc import AsyncIterator

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from ageflax.demo.limits import Limits, RefusedError

# What is too large is read a little further and thrown away: who sends sees the refusal, where a
# connection closed at once would show a broken one.
_PATIENCE, _MORE = 2.0, 4
_FRAME = 65_536  # of a form around its picture


def _size(count: int) -> str:
    return f"{count / 1e6:g} megabytes" if count >= 1e5 else f"{count} bytes"


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError(
        413, f"Too large: a picture may have {_size(limits.max_bytes)}; send a smaller copy."
    )


def _claimed(request: Request) -> int:
    """Content-Length; 0 where it is not told."""
    given = request.headers.get("content-length", "0")
    return int(given) if given.isascii() and given.isdigit() else 0


async def _drain(chunks: AsyncIterator[bytes], most: int) -> None:
    try:
        async with asyncio.timeout(_PATIENCE):
            async for chunk in chunks:
                most -= len(chunk)
                if most < 0:
                    return
    except TimeoutError:
        return


async def body(request: Request, limits: Limits) -> bytes:
    """All of a request's body.

    Raises:
      RefusedError: 413 it is too large, 408 it takes too long.
      starlette.requests.ClientDisconnect: nobody is there any more.
    """
    most, held = limits.max_bytes + _FRAME, bytearray()
    chunks = aiter(request.stream())
    if _claimed(request) > most:
        # Many clients wait for leave to send so much, and are told at once.
        if "expect" not in request.headers:
            await _drain(chunks, _MORE * limits.max_bytes)
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
        await _drain(chunks, _MORE * limits.max_bytes)
        raise _too_large(limits)
    return bytes(held)


class _Form:
    """The first part of a form that is a file, or else its first part named `image`."""

    def __init__(self) -> None:
        self.file: bytearray | None = None
        self._content = bytearray()
        self._name = self._value = b""
        self._disposition = b""

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._field,
            "on_header_value": self._of_field,
            "on_header_end": self._header,
            "on_part_data": self._data,
            "on_part_end": self._end,
        }

    def _begin(self) -> None:
        self._content, self._disposition = bytearray(), b""

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _of_field(self, data: bytes, start: int, end: int) -> None:
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
        raise RefusedError(400, "The form has no file: name the picture's part `image`.")
    return bytes(form.file)


async def picture(request: Request, limits: Limits) -> bytes:
    """The bytes of the picture that a request brings, as its body or in a form.

    Raises:
      RefusedError: 400, 408 or 413.
      starlette.requests.ClientDisconnect: nobody is there any more.
    """
    content = await body(request, limits)
    kind = request.headers.get("content-type", "")
    if kind.lower().startswith("multipart/form-data"):
        content = _from_form(content, kind)
    if len(content) > limits.max_bytes:
        raise _too_large(limits)
    return content
