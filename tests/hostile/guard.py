"""Watches what a reader does while it reads: files outside its folder, programs, the network."""

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
# What a library may look up while it works: itself, the system, what it compiled before.
_READABLE = (
    str(ROOT), sys.prefix, sys.base_prefix, *site.getsitepackages(),
    "/proc", "/sys", "/dev", "/usr", "/etc/localtime", "/etc/ssl", "/lib",
)  # fmt: skip
# pickle.find_class is told before the name is imported, and the others before they happen.
_NEVER = (
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.startfile",
    "subprocess.Popen", "pickle.find_class", "ctypes.dlopen", "socket.connect", "socket.bind",
    "socket.getaddrinfo",
)  # fmt: skip
_ONE_PATH = ("os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.chown")
_TWO_PATHS = ("os.rename", "os.link", "os.symlink")


SECRET = b"for nobody's eyes "


class Breach(BaseException):
    """Raised where it happens; no `except Exception` takes it."""


_roots: tuple[str, ...] = ()
_seen: list[str] = []
_installed = False
_deciding = threading.local()


def _inside(path: Any, roots: tuple[str, ...]) -> bool:
    if isinstance(path, int) or path is None:  # an open file's number
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
    # Every thread comes through here, so nothing that outlives the watch is changed.
    roots = _roots
    if not roots or event == "import" or getattr(_deciding, "now", False):
        return
    _deciding.now = True  # realpath opens nothing, but what it calls may be watched as well
    try:
        bad = _bad(event, arguments, roots)
    finally:
        _deciding.now = False
    if bad:
        _seen.append(f"{event}{tuple(str(a)[:200] for a in arguments)}")
        raise Breach(_seen[-1])


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Nothing is opened, changed or run but within the folder.

    Raises:
      Breach: on leaving, also where the reader swallowed the one that stopped it.
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
    """A file beside the folder, which inputs name and no reader may open."""
    path = folder.parent / "secret"
    path.write_bytes(SECRET * 100)
    return path


def new_folder() -> tempfile.TemporaryDirectory:
    """For one kind's files, with the secret beside it."""
    return tempfile.TemporaryDirectory(prefix="ageflax-hostile-")
