"""A disk cache for XLA's compiled programs: a command's second start compiles nothing."""

import hashlib
import os
import platform
import sys
from pathlib import Path

from ageflax.errors import InputError
from ageflax.runtime import files

VARIABLE = "AGEFLAX_COMPILATION_CACHE"
_MOST_BYTES = 4 * 2**30  # beyond it the least recently used programs are removed


def _machine() -> str:
    """A name shared by processors that can run each other's programs; homes may be shared by many."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    features = [line for line in lines if line.startswith(("flags", "Features", "model name"))]
    text = "\n".join([platform.machine(), platform.processor(), *sorted(set(features))])
    return f"{platform.machine()}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def default_folder() -> Path:
    """A folder in the system's place for caches: $XDG_CACHE_HOME, ~/Library/Caches, %LOCALAPPDATA%."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "ageflax" / "xla" / _machine()


def _usable(folder: Path) -> bool:
    """True if the folder can be made and written, and by nobody else: programs are run from it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.make_writable(folder, VARIABLE)
        found = folder.stat()
    except (OSError, InputError):
        return False
    return os.name != "posix" or (found.st_uid == os.getuid() and not found.st_mode & 0o022)


def enable() -> Path | None:
    """Switches JAX's compilation cache on. Commands call it; importing ageflax does not.

    The folder is named by the variable AGEFLAX_COMPILATION_CACHE (empty: no cache); without it JAX's own
    setting (JAX_COMPILATION_CACHE_DIR) stands, and without that it is `default_folder`. A folder that
    cannot be written, or that others can write to, is not used.

    Returns:
      The folder; None without a cache.
    """
    import jax  # late: some callers only need the folder's name

    asked = os.environ.get(VARIABLE)
    if asked == "":
        jax.config.update("jax_enable_compilation_cache", False)
        return None
    set_already = jax.config.values["jax_compilation_cache_dir"]
    if asked is None and set_already:
        return Path(set_already)
    try:
        folder = Path(asked).expanduser() if asked else default_folder()
    except (OSError, RuntimeError):  # a user without a home
        return None
    if not _usable(folder):
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # A run compiles a hundred programs of a few milliseconds each: seconds in all.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_compilation_cache_max_size", _MOST_BYTES)
    return folder
