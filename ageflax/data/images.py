"""Image bytes to uint8 RGB, and the reasons why some cannot become one."""

import errno
import io
import stat
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image

# 64 megapixels: above any camera a face dataset was made with, below what a decompression bomb
# needs.
MAX_PIXELS = 64_000_000
# 128 MB: more than 64 megapixels take in any format a camera writes.
MAX_BYTES = 128_000_000

# The reasons under which an image is left out of a dataset, in the order of the checks.
REASONS = ("absent", "unreadable", "empty", "too large", "not an image", "truncated")

INTERPOLATIONS = {
    # What Caffe's convert_imageset used for the paper: no antialiasing.
    "bilinear": cv2.INTER_LINEAR,
    # Averages the pixels under each new one: smoother where faces are shrunk a lot.
    "area": cv2.INTER_AREA,
    # A JPEG is decoded at the smallest of its own scales that is no smaller than wanted, which averages
    # already. What is left to shrink by less than half is bilinear, as near to area and eight times as
    # fast, the rest is area.
    "reduced": cv2.INTER_AREA,
}

# Formats that photographs come in. Pillow knows more, but some of those start another program (EPS)
# or are parsers that nobody attacks but attackers.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
# A file that starts like this was an image once, so whatever is wrong with the rest is damage.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")

_ROTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow warns of large images at a size of its own, of odd palettes and of bad EXIF; what matters
# is checked below. Set once, here: `warnings.catch_warnings` around each image is not safe in
# threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


class BadImageError(Exception):
    """An image that cannot be used; `reason` is one of REASONS."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


def read(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The file's bytes.

    Args:
      path: the image file; a link is followed, a folder or a device counts as absent.
      max_bytes: refuse anything larger, before reading it.

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
    """The image as its EXIF orientation says it is to be seen."""
    try:
        rotation = _ROTATIONS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # EXIF is a parser's playground; a photograph with a bad one is still good
        rotation = None
    return image if rotation is None else image.transpose(rotation)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Eight bits a channel, three channels, whatever the file held."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        # A few rows at once: in float64 a picture of 64 megapixels takes two gigabytes.
        rows = [slice(k, k + 64) for k in range(0, len(values), 64)]
        # "I;16" says sixteen bits; 32-bit modes do not say what white is, so the content decides.
        sixteen = image.mode.startswith("I;16") or any(
            np.nan_to_num(values[some].astype(np.float64)).max(initial=0.0) > 255.0 for some in rows
        )
        top = 65535.0 if sixteen else 255.0
        eight = np.empty(values.shape, np.uint8)
        for some in rows:
            scaled = np.nan_to_num(values[some].astype(np.float64)).clip(0.0, top) * (255.0 / top)
            eight[some] = scaled.astype(np.uint8)
        return Image.fromarray(eight).convert("RGB")
    if image.mode == "RGB" and "transparency" not in image.info:
        return image  # `convert` would copy it
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(background, image).convert("RGB")
    return image.convert("RGB")


def decode(content: bytes, *, max_pixels: int = MAX_PIXELS, at_least: int = 0) -> np.ndarray:
    """Decodes one image completely; of an animation, the first frame. EXIF rotation is applied.

    Transparency is laid over white. Safe to call from several threads.

    Args:
      content: the file's bytes: JPEG, PNG, WebP, GIF, BMP, TIFF or PPM.
      max_pixels: refuse anything that claims more, before decoding it.
      at_least: a JPEG is decoded at the smallest of 1/8, 1/4, 1/2 and its full size at which no side is
        shorter, which leaves out part of the work; 0 is its full size.

    Returns:
      uint8[height, width, 3], RGB.

    Raises:
      BadImageError: empty, too large, not an image, or truncated (or otherwise damaged).
    """
    if not content:
        raise BadImageError("empty")
    damaged = "truncated" if _starts_like_an_image(content) else "not an image"
    # Pillow's decoders raise whatever their parsing trips over, so both handlers take everything.
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImageError("too large") from error
    except MemoryError:
        raise
    except Exception as error:
        raise BadImageError(damaged) from error
    if image.width * image.height > max_pixels:
        raise BadImageError("too large")
    try:
        if at_least:
            image.draft(None, (at_least, at_least))
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
      image: what is stretched.
      size: side in pixels of the square.
      interpolation: a key of INTERPOLATIONS; "reduced" is "area" here, or "bilinear" where no side
        is more than halved.
      out: contiguous, where the result is written to, such as its place in a batch.
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
    """Image bytes to uint8[size, size, 3], RGB: what networks are trained on, and later see.

    Args:
      content: the file's bytes.
      size: side in pixels.
      interpolation: a key of INTERPOLATIONS.
      out: see `resize`.

    Raises:
      BadImageError: see `decode`.
    """
    decoded = decode(content, at_least=size if interpolation == "reduced" else 0)
    return resize(decoded, size, interpolation=interpolation, out=out)
