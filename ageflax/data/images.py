"""Decodes image bytes to uint8 RGB, and names the reason if they do not decode."""

import errno
import importlib.util
import io
import stat
import struct
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError, features

from ageflax.data import foreign

# Above any camera that a face dataset was made with, below a decompression bomb.
MAX_PIXELS = 64_000_000
# More than 64 megapixels take in any format a camera writes.
MAX_BYTES = 128_000_000

# Reasons to leave an image out of a dataset, in the order of the checks.
REASONS = ("absent", "unreadable", "empty", "too large", "not an image", "truncated")

INTERPOLATIONS = {
    # As in Caffe's convert_imageset, which the paper used: no antialiasing.
    "bilinear": cv2.INTER_LINEAR,
    # Averages the pixels under each new one: smoother if faces are shrunk a lot.
    "area": cv2.INTER_AREA,
    # Decodes a JPEG at the smallest of its own scales that is large enough, which averages already.
    # A remaining factor below two is bilinear, which comes as near to area at an eighth of the time.
    "reduced": cv2.INTER_AREA,
}

# Formats of photographs. Pillow reads more, but some start another program (EPS) and others have
# parsers that only attackers exercise.
_FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"]
_FORMATS += ["AVIF"] * bool(features.check("avif"))
_TIFFS = (b"II*\0", b"MM\0*")
# Tags of TIFF.
_WIDTH, _HEIGHT, _BITS, _COLOURS, _TILE, _KIND_OF_NUMBER = 256, 257, 258, 262, 322, 339
_REDUCED, _MORE_IMAGES, _DNG, _COMPRESSION = 254, 330, 50706, 259
_YCBCR, _FLOATS, _JPEG = 6, 3, (6, 7)
# A file that starts like this was an image once: an error in the rest is damage.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", *_TIFFS)

_ROTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class BadImageError(Exception):
    """An unusable image.

    Attributes:
      reason: one of REASONS.
      said: the reason, or more precisely what the file is and what to do with it.
    """

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason)
        self.reason, self.said = reason, detail or reason


def read(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Reads a file's bytes.

    Args:
      path: image file; a link is followed, a folder or a device counts as absent.
      max_bytes: limit, checked before the file is read.

    Raises:
      BadImageError: absent, unreadable (the system refuses), empty or too large.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadImageError("absent")
        if status.st_size > max_bytes:
            raise BadImageError("too large")
        content = path.read_bytes()
    except OSError as error:
        gone = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
        raise BadImageError("absent" if gone else "unreadable") from error
    if not content:
        raise BadImageError("empty")
    return content


def _starts_like_an_image(content: bytes) -> bool:
    return content.startswith(_SIGNATURES) or (content[:4], content[8:12]) == (b"RIFF", b"WEBP")


def _upright(image: Image.Image) -> Image.Image:
    """Rotates an image by its EXIF orientation."""
    try:
        rotation = _ROTATIONS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # any parser error: a photograph with bad EXIF is still good
        rotation = None
    return image if rotation is None else image.transpose(rotation)


def _eight_bits(values: np.ndarray, top: float | None = None) -> np.ndarray:
    """Values scaled to uint8.

    Args:
      values: numbers of any type, of any shape with rows first.
      top: value of white; by default the least of 1 (for floats), 255 and 65535 that none exceeds, as
        types of 32 bits do not define it.
    """
    # A few rows at once: in float64, 64 megapixels would take two gigabytes.
    rows = [slice(k, k + 64) for k in range(0, len(values), 64)]
    if top is None:
        most = max(np.nan_to_num(values[some].astype(np.float64)).max() for some in rows)
        top = (
            1.0 if values.dtype.kind == "f" and most <= 1.0 else 255.0 if most <= 255.0 else 65535.0
        )
    eight = np.empty(values.shape, np.uint8)
    for some in rows:
        scaled = np.nan_to_num(values[some].astype(np.float64)).clip(0.0, top) * (255.0 / top)
        eight[some] = (scaled.round() if top == 1.0 else scaled).astype(np.uint8)
    return eight


def _to_rgb(image: Image.Image) -> Image.Image:
    """Converts any mode to three channels of eight bits."""
    if image.mode.startswith("I") or image.mode == "F":
        top = 65535.0 if image.mode.startswith("I;16") else None
        return Image.fromarray(_eight_bits(np.asarray(image), top)).convert("RGB")
    if image.mode == "RGB" and "transparency" not in image.info:
        return image  # `convert` would copy it
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(background, image).convert("RGB")
    return image.convert("RGB")


def _opened(content: bytes, max_pixels: int) -> Image.Image:
    """Opens an image; Pillow's own are decoded later."""
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except UnidentifiedImageError:
        if content.startswith(_TIFFS):
            return _odd_tiff(content, max_pixels)
        if foreign.is_heif(content) and importlib.util.find_spec("pillow_heif"):
            return _heif(content, max_pixels)
        raise
    tags = getattr(image, "tag_v2", {})
    # A raw file's first image is its small preview.
    if _DNG in tags or (_MORE_IMAGES in tags and tags.get(_REDUCED) == 1):
        raise BadImageError("not an image", foreign.RAW)
    if tags.get(_COLOURS) == _YCBCR and tags.get(_COMPRESSION) not in _JPEG:
        return _odd_tiff(content, max_pixels)
    return image


def _heif(content: bytes, max_pixels: int) -> Image.Image:
    # Its plugin is not registered, which would change Pillow for everyone in the process.
    package = importlib.import_module("pillow_heif")
    try:
        found = package.open_heif(io.BytesIO(content))
        if found.size[0] * found.size[1] > max_pixels:
            raise BadImageError("too large")
        return found.to_pillow()
    except (BadImageError, MemoryError):
        raise
    except Exception as error:
        raise BadImageError("truncated") from error


def _odd_tiff(content: bytes, max_pixels: int) -> Image.Image:
    """Reads a TIFF of floats or of plain YCbCr by OpenCV; Pillow cannot.

    Raises:
      Exception: anything, if it is another one or damaged.
    """
    tags, file = TiffImagePlugin.ImageFileDirectory_v2(content[:8]), io.BytesIO(content)
    start = file.seek(tags.next)
    tags.load(file)
    floats = _FLOATS in tags.get(_KIND_OF_NUMBER, ())
    if not floats and tags.get(_COLOURS) != _YCBCR:
        raise ValueError("neither of floats nor of YCbCr")
    if tags[_WIDTH] * tags[_HEIGHT] * sum(tags[_BITS]) > max_pixels * 24:
        raise BadImageError("too large")
    if _TILE in tags:  # whose size may be anything, and is allocated
        raise BadImageError("not an image", "TIFF of floats in tiles; convert it to 8 bits")
    # OpenCV rotates some kinds by itself: it is told that there is nothing to rotate.
    plain, order = bytearray(content), "<" if content.startswith(b"II") else ">"
    (count,) = struct.unpack_from(f"{order}H", content, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from(f"{order}H", content, place)[0] == ExifTags.Base.Orientation:
            struct.pack_into(f"{order}H", plain, place + 8, 1)
    pixels = cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("OpenCV cannot read it")
    eight = _eight_bits(pixels) if floats else pixels
    image = Image.fromarray(eight if eight.ndim == 2 else eight[..., 2::-1])
    rotation = tags.get(ExifTags.Base.Orientation, 1)
    return image.transpose(_ROTATIONS[rotation]) if rotation in _ROTATIONS else image


def decode(content: bytes, *, max_pixels: int = MAX_PIXELS, at_least: int = 0) -> np.ndarray:
    """Decodes one image completely (the first frame of an animation) and applies its EXIF rotation.

    Transparency is laid over white. Safe to call from several threads.

    Args:
      content: bytes of a JPEG, PNG, WebP, GIF, BMP, TIFF or PPM file; with pillow 11.3 an AVIF, with
        the package pillow-heif a HEIC.
      max_pixels: limit on the claimed size, checked before decoding.
      at_least: shortest side needed; a JPEG is decoded at the smallest of 1/8, 1/4, 1/2 and its full
        size that has it, which is faster. 0 is its full size.

    Returns:
      uint8[height, width, 3], RGB.

    Raises:
      BadImageError: empty, too large, not an image, or truncated (or otherwise damaged).
    """
    if not content:
        raise BadImageError("empty")
    # Decoders raise errors of any type, so both handlers take everything.
    try:
        image = _opened(content, max_pixels)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImageError("too large") from error
    except (BadImageError, MemoryError):
        raise
    except Exception as error:
        kind = foreign.kind(content)
        if not kind and _starts_like_an_image(content):
            raise BadImageError("truncated") from error
        raise BadImageError("not an image", kind) from error
    if at_least and image.width * image.height <= max_pixels:
        image.draft(None, (at_least, at_least))
    return from_pillow(image, max_pixels=max_pixels)


def from_pillow(image: Image.Image, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Converts a Pillow image of any mode to uint8[height, width, 3], RGB, as `decode` does.

    Raises:
      BadImageError: too large, or truncated (or otherwise damaged, or closed).
    """
    if image.width * image.height > max_pixels:
        raise BadImageError("too large")
    try:
        return np.asarray(_to_rgb(_upright(image)))
    except MemoryError:
        raise
    except Exception as error:
        raise BadImageError("truncated") from error


def resize(
    image: np.ndarray,
    size: int,
    *,
    interpolation: str = "bilinear",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Stretches uint8[h, w, c] to uint8[size, size, c]; the aspect is ignored, as in the paper.

    Args:
      image: source.
      size: side in pixels of the square.
      interpolation: a key of INTERPOLATIONS; "reduced" is "area" here, or "bilinear" if no side is
        more than halved.
      out: contiguous array for the result, such as its place in a batch.
    """
    if image.shape[:2] == (size, size):
        if out is None:
            return image
        out[...] = image
        return out
    if interpolation == "reduced" and max(image.shape[:2]) <= 2 * size:
        interpolation = "bilinear"
    return cv2.resize(image, (size, size), dst=out, interpolation=INTERPOLATIONS[interpolation])


def square(
    content: bytes, size: int, *, interpolation: str, out: np.ndarray | None = None
) -> np.ndarray:
    """Decodes image bytes to uint8[size, size, 3] RGB, as networks see them in training and later.

    Args:
      content: bytes of an image file.
      size: side in pixels.
      interpolation: a key of INTERPOLATIONS.
      out: see `resize`.

    Raises:
      BadImageError: see `decode`.
    """
    decoded = decode(content, at_least=size if interpolation == "reduced" else 0)
    return resize(decoded, size, interpolation=interpolation, out=out)
