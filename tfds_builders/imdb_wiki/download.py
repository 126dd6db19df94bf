"""Fetches an archive from the authors' server; what broke off is taken up again."""

import hashlib
import http.client
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ageflax.errors import InputError, RunError

_SERVER = "https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/static"
ADDRESSES = {
    "wiki": f"{_SERVER}/wiki_crop.tar",
    "imdb": f"{_SERVER}/imdb_crop.tar",
}
# As published beside the archives.
MD5 = {
    "wiki": "f536eb7f5eae229ae8f286184364b42b",
    "imdb": "44b7548f288c14397cb7a7bab35ebe14",
}
PARTIAL, DAMAGED = ".partial", ".damaged"

_PIECE = 1 << 20
_TIMEOUT_SECONDS = 60
# Times in a row that a connection may break off before it brought anything.
_ATTEMPTS = 4
_PAUSE_SECONDS = 2.0
# What the network does when it fails; files fail with other kinds of OSError.
_NETWORK = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)


class _BrokenOffError(Exception):
    """The connection ended before the file did, or was never made."""


def _say(text: str) -> None:
    print(f"imdb_wiki: {text}", file=sys.stderr)


def _length(response: Any, start: int) -> int | None:
    """Bytes of the whole file, where the server tells."""
    left = response.headers.get("Content-Length", "")
    return start + int(left) if left.isdigit() else None


def _resumes_at(response: Any, start: int) -> bool:
    """Whether the server sends the part that was asked for, and not the whole file again."""
    where = response.headers.get("Content-Range", "")
    return response.status == http.HTTPStatus.PARTIAL_CONTENT and where.startswith(
        f"bytes {start}-"
    )


def _write(response: Any, partial: Path, start: int, name: str) -> None:
    """Appends the response to the part from `start` on; raises _BrokenOffError where it ends early."""
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
    """One request for what is missing of a file.

    Raises:
      _BrokenOffError: worth another request.
      urllib.error.HTTPError: the server refuses.
      OSError: the part cannot be written.
    """
    start = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={start}-"} if start else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - one of URLS
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
            _write(response, partial, start if _resumes_at(response, start) else 0, name)
    except urllib.error.HTTPError as error:
        error.close()  # it is a response too, with a connection
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return  # nothing is missing; whether the part is the file, its md5 tells
        if error.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _BrokenOffError(f"HTTP {error.code} {error.reason}") from error
        raise
    except _NETWORK as error:
        reason = getattr(error, "reason", error)
        raise _BrokenOffError(str(reason) or type(error).__name__) from error


def _complete(url: str, partial: Path, name: str) -> None:
    """Asks again, with growing pauses, as long as the file grows now and then."""
    failures, size = 0, -1
    while True:
        try:
            return _request(url, partial, name)
        except _BrokenOffError as error:
            before, size = size, partial.stat().st_size if partial.exists() else 0
            failures = 1 if size > before else failures + 1
            if failures == _ATTEMPTS:
                raise
            _say(f"{name}: {error}; going on in {_PAUSE_SECONDS * failures:g} s")
            time.sleep(_PAUSE_SECONDS * failures)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _translated(do: Callable[[], None], url: str, path: Path) -> None:
    """Runs a download, and says in one line why it failed and what to do."""
    by_hand = f"run it again to go on, or download it by hand and put it into {path.parent}"
    try:
        do()
    except _BrokenOffError as error:
        raise InputError(f"cannot download {url}: {error}; {by_hand}") from error
    except urllib.error.HTTPError as error:
        problem = f"HTTP {error.code} {error.reason}"
        raise InputError(f"cannot download {url}: {problem}; {by_hand}") from error
    except OSError as error:
        raise RunError(
            f"cannot write {path.name} to {path.parent}: {error.strerror}; what is there is kept, run it"
            " again to go on"
        ) from error


def fetch(database: str, path: Path) -> None:
    """Downloads an archive; it is under its own name only once its md5 is the published one.

    Until then it is beside it as `.partial`, which a later call goes on from. With another md5 it is
    kept as `.damaged`, for a look, and the next call begins afresh.

    Args:
      database: a key of ADDRESSES.
      path: where to put the archive; the folder is made if need be.

    Raises:
      InputError: the server cannot be reached or refuses, or what it sends is not the archive.
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
            f"{url} has the md5 {md5} and not {MD5[database]}, so it is damaged or another file; it is"
            f" kept as {damaged} and is not used; run it again to download it afresh"
        )
    partial.replace(path)
