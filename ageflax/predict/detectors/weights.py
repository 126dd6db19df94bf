"""YuNet's weights: from AGEFLAX_YUNET, the hub's cache or the hub, checked by sha256."""

import hashlib
import importlib
import os
from pathlib import Path

from ageflax.errors import InputError
from ageflax.runtime import files
from ageflax.weights import hub

REPOSITORY, FILE = "opencv/face_detection_yunet", "face_detection_yunet_2023mar.onnx"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
ADDRESS = f"https://huggingface.co/{REPOSITORY}/resolve/main/{FILE}"
# Environment variable that names a local copy, for machines that cannot reach the hub.
VARIABLE = "AGEFLAX_YUNET"
# YuNet has 0.2 MB; a file a thousand times larger is something else.
_MAX_BYTES = 200_000_000


def read(path: Path, option: str) -> bytes:
    """Reads a detector's file.

    Args:
      path: file to read.
      option: option or variable that named it, for messages.

    Raises:
      InputError: the file is too large or cannot be read.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{option}: {path} is too large for a detector")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{option}: {path} cannot be read: {error.strerror}") from error


def _cached() -> Path | None:
    """YuNet in the hub's own cache, looked up without a network; None if absent."""
    try:
        library = importlib.import_module("huggingface_hub")
        found = library.try_to_load_from_cache(REPOSITORY, FILE)
    except Exception:  # the library is absent, or the cache is not readable
        return None
    return Path(found) if isinstance(found, str) else None


def at_hand() -> bool:
    """True if YuNet is named by the variable or in the hub's cache, so that none is downloaded."""
    return bool(os.environ.get(VARIABLE)) or _cached() is not None


def yunet_weights() -> bytes:
    """Reads YuNet's file from AGEFLAX_YUNET, else from the hub's cache, else downloads it.

    Raises:
      InputError: the file is unavailable, or its checksum differs.
    """
    if named := os.environ.get(VARIABLE):
        path, option = Path(files.local(named)), VARIABLE
    else:
        path, option = _cached(), "--detector=yunet"
    if path is None:
        try:
            path = hub.fetch(REPOSITORY, filename=FILE, sha256=SHA256).path
        except hub.UnavailableError as error:
            raise InputError(
                f"YuNet is unavailable: {error.why}\n"
                f"download {ADDRESS} elsewhere and pass --detector=FILE or set {VARIABLE}=FILE, or use"
                " --detector=mtcnn, which needs no download"
            ) from error
    content = read(path, option)
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise InputError(f"{path}: sha256 is {found}; {FILE} has {SHA256}")
    return content
