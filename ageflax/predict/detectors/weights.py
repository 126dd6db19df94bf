"""Which detector a name stands for, and where YuNet's weights come from."""

import hashlib
import importlib
import os
from collections.abc import Callable
from pathlib import Path

from ageflax.errors import InputError
from ageflax.predict.detectors.yunet import MIN_SCORE, Detector, Haar, Whole, YuNet
from ageflax.weights import hub

REPOSITORY, FILE = "opencv/face_detection_yunet", "face_detection_yunet_2023mar.onnx"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
# Names a copy of that file, for machines that cannot reach the hub.
VARIABLE = "AGEFLAX_YUNET"
# YuNet is 0.2 MB; what is a thousand times larger is something else.
_MAX_BYTES = 200_000_000


def _read(path: Path, option: str) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{option}: {path} is too large for a detector")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{option}: {path} cannot be read: {error.strerror}") from error


def _pinned(content: bytes, origin: str) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise InputError(f"{origin}: sha256 is {found}; {FILE} has {SHA256}")
    return content


def _cached() -> Path | None:
    """Where the hub's own cache has it, asked without the network."""
    try:
        library = importlib.import_module("huggingface_hub")
        found = library.try_to_load_from_cache(REPOSITORY, FILE)
    except Exception:  # no library, or a cache that is not ours: then it is not there
        return None
    return Path(found) if isinstance(found, str) else None


def yunet_weights() -> bytes:
    """YuNet's file, checked: of AGEFLAX_YUNET, else of the hub's cache, else downloaded.

    Raises:
      InputError: it cannot be had, or is another; says what to do.
    """
    if named := os.environ.get(VARIABLE):
        return _pinned(_read(Path(named), VARIABLE), named)
    path = _cached()
    if path is None:
        try:
            path = hub.fetch(REPOSITORY, filename=FILE, sha256=SHA256).path
        except InputError as error:
            why = str(error).splitlines()[0].partition("and ")[2] or str(error).splitlines()[0]
            raise InputError(
                f"YuNet cannot be had: {why}\nfetch"
                f" https://huggingface.co/{REPOSITORY}/resolve/main/{FILE} elsewhere and name it in"
                f" --detector=FILE or {VARIABLE}, or use --detector=haar, which needs no download"
            ) from error
    return _pinned(_read(path, "--detector=yunet"), str(path))


def open_detector(
    name: str = "auto", *, min_score: float = MIN_SCORE, say: Callable[[str], None]
) -> Detector:
    """The detector of a name.

    Args:
      name: "yunet"; "haar"; "none", where images are faces already; a file, YuNet's .onnx or a cascade's
        .xml; or "auto", YuNet and, where that cannot be had, Haar.
      min_score: of YuNet.
      say: is told where auto had to take Haar.

    Raises:
      InputError: there is no such detector, or it cannot be had.
    """
    if name == "none":
        return Whole()
    if name == "haar":
        return Haar()
    if name in ("yunet", "auto"):
        try:
            return YuNet(yunet_weights(), name="yunet", min_score=min_score)
        except InputError as error:
            # A file that the user named, and that is not what it should be, is no case for another.
            if name == "yunet" or VARIABLE in os.environ:
                raise
            first = str(error).splitlines()[0]
            say(f"{first}; Haar detects instead, which sees frontal faces only")
            return Haar()
    path = Path(name)
    if not path.is_file():
        raise InputError(
            f"--detector={name}: neither auto, yunet, haar or none, nor a file that is there"
        )
    if path.suffix == ".xml":
        return Haar(path)
    return YuNet(_read(path, f"--detector={name}"), name=name, min_score=min_score)
