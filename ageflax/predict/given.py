"""Images as callers of the Python interface have them: paths, bytes, open files, pictures, arrays."""

import contextlib
import os
from collections.abc import Generator, Iterable
from typing import Any

import numpy as np
from PIL import Image

from ageflax.data import foreign, images
from ageflax.errors import InputError, first_line, one_line
from ageflax.predict import sources
from ageflax.predict.frames import Content, Failure, Frame

COLORS = ("rgb", "bgr")
# Rounding beyond 0 and 1 that arithmetic leaves in images of floats.
_ROUNDING = 1e-3


def frames(given: Any, *, colors: str = "rgb", every: int = 1) -> Generator[Frame, None, None]:
    """Yields the frames of all that was given, in its order; see Predictor.__call__.

    An unusable image raises nothing: its frame has the reason.

    Args:
      given: one image or several.
      colors: order of the channels of arrays, one of COLORS.
      every: stride through the frames of videos.

    Raises:
      InputError: `colors` is none of COLORS.
    """
    if colors not in COLORS:
        raise InputError(f"colors={colors!r}: expected rgb or bgr")
    place = 0
    for one in _several(given):
        if isinstance(one, str | os.PathLike):
            found = _of_path(os.path.expanduser(os.fsdecode(one)), place, every)  # noqa: PTH111
        else:
            found = (
                Frame(f"#{place + k}", place + k, None, content)
                for k, content in enumerate(_contents(one, colors))
            )
        for frame in found:
            place = frame.place
            yield frame
        place += 1


def _several(given: Any) -> Iterable[Any]:
    """The images given, one by one; a single one, and what is none, by itself."""
    single = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, dict)
    if isinstance(given, single) or hasattr(given, "read"):
        return (given,)
    if hasattr(given, "__array__"):
        # A column of a table holds its images as objects.
        kind = getattr(getattr(given, "dtype", None), "kind", "")
        return np.asarray(given).ravel().tolist() if kind in ("O", "U") else (given,)
    return given if isinstance(given, Iterable) else (given,)


def _of_path(name: str, place: int, every: int) -> Generator[Frame, None, None]:
    """The frames of a file, or of all files of a folder or a glob."""
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(name)
        found = sources.find([name])
    except InputError as error:
        yield Frame(name, place, None, Failure(str(error).removeprefix(f"{name}: ")))
        return
    except PermissionError:
        yield Frame(name, place, None, Failure("unreadable"))
        return
    except (OSError, ValueError):  # too long for a path, or with a zero in it: content, most likely
        kind = foreign.kind(os.fsencode(name))
        yield Frame(f"#{place}", place, None, Failure(kind or "text that is no path"))
        return
    yield from sources.frames(found, every, start=place)


def _contents(given: Any, colors: str) -> list[Content]:
    """Content of the frame, or of each frame of a batch."""
    try:
        if isinstance(given, Image.Image):
            return [images.from_pillow(given)]
        if isinstance(given, memoryview) and (given.ndim != 1 or given.itemsize != 1):
            given = np.asarray(given)
        if isinstance(given, bytes | bytearray | memoryview):
            return [bytes(given)]
        if hasattr(given, "read"):
            return [_read(given)]
        if hasattr(given, "__array__"):
            return _of_array(np.asarray(given), colors)
    except images.BadImageError as error:
        return [Failure(error.said)]
    except InputError as error:
        return [Failure(str(error))]
    except Exception as error:  # other libraries' objects raise anything
        return [Failure(f"{type(given).__name__}: {one_line(first_line(error))}")]
    if given is None:
        return [Failure("None, no image; cv2.imread gives it for a file that it cannot read")]
    expected = "expected a path, bytes, an open file, a PIL image or an array"
    if isinstance(given, list | tuple):
        expected += "; np.asarray(image, np.uint8) makes one of nested lists"
    return [Failure(f"{type(given).__name__}, {expected}")]


def _read(file: Any) -> bytes:
    """Content of an open file, from its start if it can be rewound."""
    with contextlib.suppress(OSError, AttributeError):
        file.seek(0)
    parts, size = [], 0
    while size <= images.MAX_BYTES and (part := file.read(images.MAX_BYTES + 1 - size)):
        if not isinstance(part, bytes):
            raise InputError(f"a file whose read() gives {type(part).__name__}; open it with 'rb'")
        parts.append(part)
        size += len(part)
    if size > images.MAX_BYTES:
        raise images.BadImageError("too large")
    return b"".join(parts)


def _of_array(array: np.ndarray, colors: str) -> list[Content]:
    """Pixels uint8[h, w, 3], RGB, of an image or of each image of a batch.

    Raises:
      InputError: shape or values are ambiguous; the message names the conversion.
    """
    said = f"{array.dtype}{list(array.shape)}"
    channels = array.shape[-1] if array.ndim > 2 else 1
    if array.ndim not in (2, 3, 4) or channels not in (1, 3, 4):
        if array.ndim in (3, 4) and array.shape[-3] in (1, 3, 4):
            raise InputError(f"{said}, channels first; pass np.moveaxis(image, -3, -1)")
        raise InputError(
            f"{said}, expected [height, width], [height, width, 1, 3 or 4], or a batch [n, height,"
            " width, 1, 3 or 4]"
        )
    if not array.size:
        raise InputError(f"{said}, no pixels")
    batch = _to_uint8(array, said).reshape(-1, *array.shape[array.ndim == 4 :][:2], channels)
    return [_to_rgb(image, colors) for image in batch]


def _to_rgb(image: np.ndarray, colors: str) -> np.ndarray:
    """Three channels of uint8[h, w, 1, 3 or 4]; transparency is laid over white."""
    if image.shape[2] == 1:
        return np.repeat(image, 3, axis=2)
    if image.shape[2] == 4:
        alpha = image[..., 3:].astype(np.float32) / 255.0
        laid = image[..., :3] * alpha + 255.0 * (1.0 - alpha)
        image = np.round(laid).astype(np.uint8)
    return np.ascontiguousarray(image[..., ::-1] if colors == "bgr" else image)


def _to_uint8(array: np.ndarray, said: str) -> np.ndarray:
    """Values 0 to 255 of an array of any number type; floats up to 1 are scaled.

    Args:
      array: image or batch, which has one scale.
      said: its type and shape, for messages.

    Raises:
      InputError: the values are neither from 0 to 1 nor from 0 to 255.
    """
    if array.dtype == np.uint8:
        return array
    if array.dtype.name == "bfloat16":  # unknown to NumPy's kinds
        array = array.astype(np.float32)
    if array.dtype.kind not in "iuf":
        raise InputError(
            f"{said}, expected uint8 or floats; pass image.astype(np.uint8) if it fits"
        )
    low, high = float(array.min()), float(array.max())
    values = f"{said} from {low:.4g} to {high:.4g}"
    if array.dtype.kind in "iu":
        if low < 0 or high > 255:
            raise InputError(
                f"{values}, expected 0 to 255; for sixteen bits, pass (image // 257).astype(np.uint8)"
            )
        return array.astype(np.uint8)
    if not np.isfinite((low, high)).all():
        raise InputError(f"{said} with NaN or infinity; pass np.nan_to_num(image)")
    if low < -_ROUNDING or high > 255 + _ROUNDING or 1 + _ROUNDING < high <= 2:
        raise InputError(
            f"{values}, expected 0 to 1 or 0 to 255; undo its normalisation, such as (image + 1) / 2"
            " from -1 to 1, or pass np.clip(image, 0, 1)"
        )
    # float32 holds the products exactly enough; float16 does not.
    scale = np.float32(255.0 if high <= 1 + _ROUNDING else 1.0)
    return np.round(array.astype(np.float32) * scale).clip(0, 255).astype(np.uint8)
