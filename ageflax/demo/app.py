"""The ASGI application: the page and its files, the examples, the endpoint and its schema."""

import logging
import math
import re
from collections.abc import Iterable
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ageflax.demo import examples, page, schema
from ageflax.demo.guard import Guard
from ageflax.demo.limits import Limits, Places, Rate, RefusedError, visitor
from ageflax.demo.looking import Looker
from ageflax.demo.upload import picture
from ageflax.errors import RunError
from ageflax.predict import Predictor
from ageflax.predict.frames import workers_here
from ageflax.runtime.progress import say

_LOGGER = logging.getLogger("ageflax")
_STATIC = {"demo.css": "text/css", "demo.js": "text/javascript", "icon.svg": "image/svg+xml"}

_FAILED = "The model failed; the reason is in the server's log."


def _refused(error: RefusedError) -> Response:
    # The rest of the upload is not awaited.
    headers = {"connection": "close"} if error.status in (408, 413) else {}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(math.ceil(error.retry_after), 1))
    return JSONResponse({"error": error.message}, error.status, headers)


def _stream(request: Request) -> str | None:
    """Name of the stream that a picture belongs to, if any."""
    given = request.query_params.get("stream")
    if given is not None and not re.fullmatch(schema.STREAM_NAME, given):
        raise RefusedError(400, f"stream: expected a name that matches {schema.STREAM_NAME}")
    return given


class _Endpoint:
    """POST /faces."""

    def __init__(self, predictor: Predictor, limits: Limits):
        self._limits = limits
        self._rate = Rate(limits.rate)
        self.places = Places(limits, workers=workers_here())
        self._look = Looker(predictor, limits)

    async def answer(self, request: Request) -> Response:
        who = visitor(request.client.host if request.client else "")
        try:
            self._rate.take(who)
            with self.places.place(who):
                stream = _stream(request)
                content = await picture(request, self._limits)
                found = await self.places.work(partial(self._look, content, stream=stream))
            return JSONResponse(found)
        except RefusedError as error:
            return _refused(error)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except MemoryError:
            return _refused(RefusedError(503, "Not enough memory for this picture right now."))
        except RunError as error:
            say(f"ageflax.demo: {error}")
            return _refused(RefusedError(500, _FAILED))
        except Exception:  # a bug; its traceback contains nothing of the picture
            _LOGGER.exception("ageflax.demo: a picture was not answered")
            return _refused(RefusedError(500, _FAILED))


async def _failed(request: Request, error: Exception) -> Response:
    """The framework's own refusals, such as 404 and 405, in the endpoint's form."""
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
    """Makes the application, for any ASGI server.

    The server enforces the limits on connections (header_seconds, connections, connections_each).

    Args:
      predictor: finds faces and predicts their age and gender.
      limits: limits to enforce; the defaults if None.
      hosts: see guard.Guard.
    """
    limits = limits or Limits()
    endpoint = _Endpoint(predictor, limits)
    # Every visitor gets the same files, so they are made once.
    text = page.render(predictor.description, limits, detector=predictor.detector.name)
    files = {
        "/": Response(text, media_type="text/html"),
        "/openapi.json": JSONResponse(schema.document(predictor.description, limits)),
    }
    for name, kind in _STATIC.items():
        files[f"/{name}"] = Response(page.static(name), media_type=kind)
    made = Starlette(
        routes=[
            *(Route(path, file, methods=["GET"]) for path, file in files.items()),
            Route("/examples/{name}.jpg", _example),
            Route(schema.ENDPOINT, endpoint.answer, methods=["POST"]),
        ],
        exception_handlers={HTTPException: _failed},
    )
    made.state.places = endpoint.places
    made.add_middleware(Guard, hosts=tuple(hosts))
    return made
