"""Image bytes to uint8 RGB, and the reasons why some cannot become one."""

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# 64 megapixels: above any camera a face dataset was made with, below what a decompression bomb needs.
MAX_PIXELS = 64_000_000

# The reasons under which an image is left out of a dataset, in the order of the checks.
REASONS = ("absent", "empty", "not an image", "too large", "truncated")

INTERPOLATIONS = {
    # What Caffe's convert_imageset used for the paper: no antialiasing.
    "bilinear": cv2.INTER_LINEAR,
    # Averages the pixels under each new one: smoother where faces are shrunk a lot.
    "area": cv2.INTER_AREA,
}


class BadImageError(Exception):
    """An image that cannot be used; `reason` is one of REASONS."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


def read(path: Path) -> bytes:
    """The file's bytes.

    Raises:
      BadImageError: absent or empty.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise BadImageError("absent") from error
    if not content:
        raise BadImageError("empty")
    return content


def _to_rgb(image: Image.Image) -> Image.Image:
    """Eight bits a channel, three channels, whatever the file held."""
    if image.mode.startswith("I") or image.mode == "F":  # 16-bit grey: keep the high byte
        high = np.asarray(image, np.float64)
        top = 65535.0 if high.max(initial=0.0) > 255.0 else 255.0
        return Image.fromarray((high.clip(0.0, top) * (255.0 / top)).astype(np.uint8)).convert("RGB")
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(background, image).convert("RGB")
    return image.convert("RGB")


def decode(content: bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes one image completely; of an animation, the first frame. EXIF rotation is applied.

    Args:
      content: the file's bytes, in any format Pillow reads.
      max_pixels: refuse anything that claims more, before decoding it.

    Returns:
      uint8[height, width, 3], RGB.

    Raises:
      BadImageError: empty, not an image, too large or truncated.
    """
    if not content:
        raise BadImageError("empty")
    with warnings.catch_warnings():
        # Pillow warns of bombs at a size of its own; ours is checked below, from the header alone.
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(content))
        except Image.DecompressionBombError as error:
            raise BadImageError("too large") from error
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
            raise BadImageError("not an image") from error
        if image.width * image.height > max_pixels:
            raise BadImageError("too large")
        try:
            image.load()
            return np.asarray(_to_rgb(ImageOps.exif_transpose(image)))
        except (OSError, ValueError, SyntaxError, EOFError, IndexError) as error:
            raise BadImageError("truncated") from error


def resize(image: np.ndarray, size: int, *, interpolation: str = "bilinear") -> np.ndarray:
    """Stretches uint8[h, w, c] to uint8[size, size, c]; the aspect is ignored, as in the paper."""
    if image.shape[:2] == (size, size):
        return image
    return cv2.resize(image, (size, size), interpolation=INTERPOLATIONS[interpolation])
