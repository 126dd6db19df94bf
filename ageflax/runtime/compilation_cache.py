"""What XLA compiles is kept between processes: the second start of a command compiles nothing."""

import hashlib
import os
import platform
import sys
from pathlib import Path

VARIABLE = "AGEFLAX_COMPILATION_CACHE"
_MOST_BYTES = 4 * 2**30  # the least recently used go first


def _machine() -> str:
    """Of processors that run each other's programs, the same; a home may be shared by several kinds."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    features = [line for line in lines if line.startswith(("flags", "Features", "model name"))]
    text = "\n".join([platform.machine(), platform.processor(), *sorted(set(features))])
    return f"{platform.machine()}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def default_folder() -> Path:
    """Where the system wants caches: $XDG_CACHE_HOME or ~/.cache, ~/Library/Caches, %LOCALAPPDATA%."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "ageflax" / "xla" / _machine()


def _usable(folder: Path) -> bool:
    """Whether it is there, or can be made, and nobody else writes to it: programs are run from it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
        found = folder.stat()
    except OSError:
        return False
    return os.name != "posix" or (found.st_uid == os.getuid() and not found.st_mode & 0o022)


def enable() -> Path | None:
    """Has JAX keep what it compiles. Commands call it before they compile; importing ageflax does not.

    The folder is that of the variable AGEFLAX_COMPILATION_CACHE (empty: none); else JAX's own setting
    (JAX_COMPILATION_CACHE_DIR) stays as it is; else `default_folder`. Where it cannot be written, or
    others can write to it, everything is compiled as if there were none.

    Returns:
      The folder; None where nothing is kept.
    """
    import jax  # late, for who only wants the folder's name

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
    # A run has a hundred programs of a few milliseconds; compiled anew, they take seconds together.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_compilation_cache_max_size", _MOST_BYTES)
    return folder
