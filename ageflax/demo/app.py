"""The ASGI application: the page and its files, the examples, the endpoint and its schema."""

import asyncio
import logging
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ageflax.demo import examples, page, schema, upload
from ageflax.demo.guard import Guard
from ageflax.demo.limits import Limits
from ageflax.demo.looking import Looker
from ageflax.errors import RunError
from ageflax.predict import Predictor
from ageflax.predict.frames import workers_here
from ageflax.runtime.progress import say

_LOGGER = logging.getLogger("ageflax")
_STATIC = {"demo.css": "text/css", "demo.js": "text/javascript", "icon.svg": "image/svg+xml"}

_FAILED = "The model failed; the reason is in the server's log."


def _stream(request: Request) -> str | None:
    """Name of the stream that a picture belongs to, if any."""
    given = request.query_params.get("stream")
    if given is not None and not re.fullmatch(schema.STREAM_NAME, given):
        raise HTTPException(400, f"stream: expected a name that matches {schema.STREAM_NAME}")
    return given


class _Endpoint:
    """POST /faces."""

    def __init__(self, predictor: Predictor, limits: Limits):
        self._limits = limits
        self._look = Looker(predictor, limits)
        # Memory is bounded by the former, load by the latter.
        self._places = asyncio.Semaphore(limits.concurrent)
        self._pool = ThreadPoolExecutor(workers_here(), thread_name_prefix="demo")

    async def answer(self, request: Request) -> Response:
        if self._places.locked():
            raise HTTPException(503, "Busy: too many pictures are waiting.", {"retry-after": "2"})
        async with self._places:
            try:
                return JSONResponse(await self._found(request))
            except HTTPException:
                raise
            except ClientDisconnect:
                return Response(status_code=400)  # nobody reads it
            except MemoryError as error:
                raise HTTPException(503, "Not enough memory for this picture right now.") from error
            except RunError as error:
                say(f"ageflax.demo: {error}")
                raise HTTPException(500, _FAILED) from error
            except Exception as error:  # a bug; its traceback contains nothing of the picture
                _LOGGER.exception("ageflax.demo: a picture was not answered")
                raise HTTPException(500, _FAILED) from error

    async def _found(self, request: Request) -> schema.Json:
        stream = _stream(request)
        content = await upload.body(request, self._limits)
        look = self._look.several if upload.kind(request) == "application/json" else self._look
        work = partial(look, content, stream=stream)
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


async def _refused(request: Request, error: Exception) -> Response:
    """Refusals, the framework's own such as 404 and 405 included."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _example(request: Request) -> Response:
    try:
        content = examples.picture(request.path_params["name"])
    except KeyError as error:
        raise HTTPException(404) from error
    return Response(content, media_type="image/jpeg", headers={"cache-control": "max-age=3600"})


def application(
    predictor: Predictor, limits: Limits | None = None, *, hosts: Iterable[str] = ()
) -> Starlette:
    """Makes the application, for any ASGI server and below any path.

    Args:
      predictor: finds faces and predicts their age and gender.
      limits: limits to enforce; the defaults if None.
      hosts: see guard.Guard.
    """
    limits = limits or Limits()
    # Every visitor gets the same files, so they are made once.
    text = page.render(predictor.description, limits, detector=predictor.detector.name)
    files = {
        "/": Response(text, media_type="text/html"),
        "/openapi.json": JSONResponse(schema.document(predictor.description, limits)),
        "/healthz": JSONResponse({"status": "ok"}),
    }
    for name, kind in _STATIC.items():
        files[f"/{name}"] = Response(page.static(name), media_type=kind)
    made = Starlette(
        routes=[
            *(Route(path, file, methods=["GET"]) for path, file in files.items()),
            Route("/examples/{name}.jpg", _example),
            Route(schema.ENDPOINT, _Endpoint(predictor, limits).answer, methods=["POST"]),
        ],
        exception_handlers={HTTPException: _refused},
    )
    made.add_middleware(Guard, hosts=tuple(hosts))
    return made
