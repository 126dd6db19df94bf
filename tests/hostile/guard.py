"""Watches a reader for access outside its folder, started programs and use of the network."""

import contextlib
import os
import site
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
# Readable by libraries at work: themselves, the system.
_READABLE = (
    str(ROOT), sys.prefix, sys.base_prefix, *site.getsitepackages(),
    "/proc", "/sys", "/dev", "/usr", "/etc/localtime", "/etc/ssl", "/lib",
)  # fmt: skip
# Audit events come before the act; pickle.find_class before the name is imported.
_NEVER = (
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.startfile",
    "subprocess.Popen", "pickle.find_class", "ctypes.dlopen", "socket.connect", "socket.bind",
    "socket.getaddrinfo",
)  # fmt: skip
_ONE_PATH = ("os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.chown")
_TWO_PATHS = ("os.rename", "os.link", "os.symlink")


SECRET = b"for nobody's eyes "


class Breach(BaseException):
    """Raised at the forbidden act; not an Exception, so readers do not catch it."""


_roots: tuple[str, ...] = ()
_seen: list[str] = []
_installed = False
_deciding = threading.local()


def _inside(path: Any, roots: tuple[str, ...]) -> bool:
    if isinstance(path, int) or path is None:  # a file descriptor
        return True
    real = os.path.realpath(os.fsdecode(path))
    return any(real == root or real.startswith(root + os.sep) for root in roots)


def _bad(event: str, arguments: tuple[Any, ...], roots: tuple[str, ...]) -> bool:
    if event == "open":
        path, mode, flags = arguments
        writes = any(c in (mode or "") for c in "wax+") or (
            isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        writable = (*roots, "/dev/null")
        return not _inside(path, writable if writes else (*writable, *_READABLE))
    if event in _ONE_PATH or event in _TWO_PATHS:
        return not all(_inside(path, roots) for path in arguments[: 1 + (event in _TWO_PATHS)])
    return event in _NEVER


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    # Every thread comes through here: no state that outlives the watch is changed.
    roots = _roots
    if not roots or event == "import" or getattr(_deciding, "now", False):
        return
    _deciding.now = True  # realpath opens nothing, but its calls may raise events too
    try:
        bad = _bad(event, arguments, roots)
    finally:
        _deciding.now = False
    if bad:
        _seen.append(f"{event}{tuple(str(a)[:200] for a in arguments)}")
        raise Breach(_seen[-1])


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Forbids opening or changing anything outside the folder, and running anything.

    Raises:
      Breach: at the forbidden act, and again on leaving, in case the reader swallowed it.
    """
    global _roots, _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    _seen.clear()
    compiled = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    _roots = tuple(os.path.realpath(p) for p in (folder, compiled) if p)
    try:
        yield
    finally:
        _roots = ()
    if _seen:
        raise Breach("; ".join(_seen))


def secret(folder: Path) -> Path:
    """A file beside the folder that inputs name and no reader may open."""
    path = folder.parent / "secret"
    path.write_bytes(SECRET * 100)
    return path


def new_folder() -> tempfile.TemporaryDirectory:
    """Temporary folder for one kind's files, with the secret beside them."""
    return tempfile.TemporaryDirectory(prefix="ageflax-hostile-")
