"""Downloads an archive from the authors' server; an interrupted download is resumed."""

import functools
import hashlib
import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ageflax.errors import InputError, RunError
from tfds_builders import common

_SERVER = "https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/static"
ADDRESSES = {
    "wiki": f"{_SERVER}/wiki_crop.tar",
    "imdb": f"{_SERVER}/imdb_crop.tar",
}
# Published beside the archives.
MD5 = {
    "wiki": "f536eb7f5eae229ae8f286184364b42b",
    "imdb": "44b7548f288c14397cb7a7bab35ebe14",
}
PARTIAL, DAMAGED = ".partial", ".damaged"

_PIECE = 1 << 20
_TIMEOUT_SECONDS = 60
# Consecutive attempts without any progress.
_ATTEMPTS = 4
_PAUSE_SECONDS = 2.0
# Errors of the network; errors of files are other kinds of OSError.
_NETWORK = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)


class _BrokenOffError(Exception):
    """The connection failed, or ended before the file did."""


_say = functools.partial(common.say, "imdb_wiki")


def _length(response: Any, start: int) -> int | None:
    """Bytes of the whole file, if the server states them."""
    left = response.headers.get("Content-Length", "")
    return start + int(left) if left.isdigit() else None


def _resumes_at(response: Any, start: int) -> bool:
    """True if the server sends the part from `start` on instead of the whole file."""
    where = response.headers.get("Content-Range", "")
    return response.status == http.HTTPStatus.PARTIAL_CONTENT and where.startswith(
        f"bytes {start}-"
    )


def _write(response: Any, partial: Path, start: int, name: str) -> None:
    """Writes the response into the part from `start` on; raises _BrokenOffError if it ends early."""
    total = _length(response, start)
    progress = tqdm(
        desc=f"Downloading {name}",
        total=total,
        initial=start,
        unit="B",
        unit_scale=True,
        leave=False,
        disable=None,
    )
    with progress, partial.open("ab" if start else "wb") as file:
        while True:
            try:
                piece = response.read(_PIECE)
            except _NETWORK as error:
                raise _BrokenOffError(str(error) or type(error).__name__) from error
            if not piece:
                break
            file.write(piece)
            progress.update(len(piece))
        size = file.tell()
    if total is not None and size < total:
        raise _BrokenOffError(f"the connection ended after {size:,} of {total:,} bytes")


def _request(url: str, partial: Path, name: str) -> None:
    """Requests the missing part of a file.

    Raises:
      _BrokenOffError: another request may succeed.
      urllib.error.HTTPError: the server refused.
      OSError: the part cannot be written.
    """
    start = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={start}-"} if start else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - one of URLS
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
            _write(response, partial, start if _resumes_at(response, start) else 0, name)
    except urllib.error.HTTPError as error:
        error.close()  # it is also a response, with a connection
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return  # nothing is missing; the md5 is checked later
        if error.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _BrokenOffError(f"HTTP {error.code} {error.reason}") from error
        raise
    except _NETWORK as error:
        reason = getattr(error, "reason", error)
        raise _BrokenOffError(str(reason) or type(error).__name__) from error


def _complete(url: str, partial: Path, name: str) -> None:
    """Repeats requests, with growing pauses, until the file is complete or does not grow any more."""
    failures, size = 0, -1
    while True:
        try:
            return _request(url, partial, name)
        except _BrokenOffError as error:
            before, size = size, partial.stat().st_size if partial.exists() else 0
            failures = 1 if size > before else failures + 1
            if failures == _ATTEMPTS:
                raise
            _say(f"{name}: {error}; resuming in {_PAUSE_SECONDS * failures:g} s")
            time.sleep(_PAUSE_SECONDS * failures)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _translated(do: Callable[[], None], url: str, path: Path) -> None:
    """Runs a download; turns its errors into a line with the reason and advice."""
    by_hand = f"run it again to resume, or download it by hand and put it into {path.parent}"
    try:
        do()
    except _BrokenOffError as error:
        raise InputError(f"{url}: cannot be downloaded: {error}; {by_hand}") from error
    except urllib.error.HTTPError as error:
        problem = f"HTTP {error.code} {error.reason}"
        raise InputError(f"{url}: cannot be downloaded: {problem}; {by_hand}") from error
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written: {error.strerror}; the part is kept, run it again to resume"
        ) from error


def fetch(database: str, path: Path) -> None:
    """Downloads an archive, which gets its name only if its md5 is the published one.

    Until then it is called `.partial`, which a later call resumes. With another md5 it is kept as
    `.damaged`, and the next call starts anew.

    Args:
      database: a key of ADDRESSES.
      path: path of the archive; its folder is made if absent.

    Raises:
      InputError: the server cannot be reached or refuses, or the download is not the archive.
      RunError: the disk is full or cannot be written.
    """
    url = ADDRESSES[database]
    partial = path.with_name(path.name + PARTIAL)
    damaged = path.with_name(path.name + DAMAGED)

    def run() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _complete(url, partial, path.name)

    _say(f"neither {path.stem}/ nor {path.name} is in {path.parent}: downloading {url}")
    _translated(run, url, path)
    md5 = _md5(partial)
    if md5 != MD5[database]:
        partial.replace(damaged)
        raise InputError(
            f"{url}: md5 is {md5}, expected {MD5[database]}; damaged or another file, kept as {damaged}"
            " but not used; run it again to download it anew"
        )
    partial.replace(path)
