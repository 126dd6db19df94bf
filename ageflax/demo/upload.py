"""Reads the pictures of a request into memory, within the limits."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncGenerator

from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from ageflax.demo.limits import Limits


class _Form(MultiPartParser):
    """Form parser that uses no file: by default pictures of a megabyte would reach the disk."""

    spool_max_size = 0


async def _chunks(request: Request, limits: Limits) -> AsyncGenerator[bytes]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limits.max_bytes:
            # The server reads the rest and discards it: a client that is cut off sees no reason.
            most = f"{limits.max_bytes / 1e6:g} megabytes"
            raise HTTPException(
                413, f"Too large: a request may have {most}; send smaller pictures."
            )
        yield chunk


async def _body(request: Request, limits: Limits) -> bytes:
    chunks = _chunks(request, limits)
    if kind(request) != "multipart/form-data":
        return b"".join([chunk async for chunk in chunks])
    try:
        form = await _Form(request.headers, chunks).parse()
    except (MultiPartException, FormParserError) as error:  # the latter by older versions
        raise HTTPException(400, "The form (multipart/form-data) is damaged.") from error
    files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
    content = await files[0].read() if files else None
    await form.close()
    if content is None:
        raise HTTPException(400, "The form has no picture: send it as a file named `image`.")
    return content


def kind(request: Request) -> str:
    """Media type of a request's body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def body(request: Request, limits: Limits) -> bytes:
    """Reads a request's body, or the first file of its form.

    Raises:
      HTTPException: 400, a damaged form; 408, too slow; 413, too large.
      starlette.requests.ClientDisconnect: the client is gone.
    """
    try:
        async with asyncio.timeout(limits.upload_seconds):
            return await _body(request, limits)
    except TimeoutError as error:
        reason = f"Too slow: the request did not arrive within {limits.upload_seconds:g} seconds."
        raise HTTPException(408, reason, {"connection": "close"}) from error


def listed(content: bytes, limits: Limits) -> list[str]:
    """Texts of the pictures in {"images": ["BASE64", ...]}.

    Raises:
      HTTPException: 400, something else; 413, too many.
    """
    try:
        texts = json.loads(content)["images"]
    except (ValueError, TypeError, KeyError, RecursionError):
        texts = None
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise HTTPException(400, 'The JSON is not {"images": ["BASE64 or data: URL", ...]}.')
    if len(texts) > limits.max_pictures:
        raise HTTPException(413, f"Too many: a request may have {limits.max_pictures} pictures.")
    return texts


def decoded(text: str) -> bytes:
    """Bytes of a picture in base64, bare or as a data: URL.

    Raises:
      HTTPException: 400, neither.
    """
    bare = re.sub(r"\A\s*data:[^,]{0,200};base64,", "", text, flags=re.IGNORECASE)
    try:
        return base64.b64decode("".join(bare.split()), validate=True)
    except ValueError as error:
        reason = "Not base64: expected a picture in base64 or a data: URL; nothing is fetched."
        raise HTTPException(400, reason) from error
