"""Files that are no photograph that can be decoded, recognised by their first bytes, with what to do."""

import re

# Brands of ISO media files (bytes 8 to 12) that hold pictures.
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"mif2")
_TO_JPEG = "convert it to JPEG or PNG"
RAW = "a camera's raw file; develop it to JPEG, or take its preview (exiftool -b -JpgFromRaw FILE)"
_VIDEO = "a video; name it with a video's suffix, such as .mp4"
_SOUND = "a sound file"
_ARCHIVE = "an archive; unpack it"
_TEXT = "text, not an image"

# Expressions for the start of a file, and what such a file is. The first that fits counts.
_KINDS: tuple[tuple[bytes, str], ...] = (
    (rb"....ftypcrx ", RAW),
    (rb"....ftyp(?:" + b"|".join(_HEIF) + rb")",
     f"HEIC; pip install pillow-heif, or {_TO_JPEG}"),
    (rb"....ftypavi[fs]", f"AVIF; install pillow>=11.3, or {_TO_JPEG}"),
    (rb"....ftyp(?:M4A|M4B|F4A)", _SOUND),
    (rb"....(?:ftyp|moov|mdat|wide)|\x1a\x45\xdf\xa3|RIFF....AVI |FLV\x01|\0\0\x01\xba|G.{187}G",
     _VIDEO),
    (rb"ID3|fLaC|OggS|RIFF....WAVE|\xff[\xf2\xf3\xfa\xfb]", _SOUND),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", f"JPEG XL; {_TO_JPEG} (djxl FILE photo.png)"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", f"JPEG 2000; {_TO_JPEG}"),
    (rb"II(?:\x1a\0\0\0HEAPCCDR|U\0|RO|RS)|MMOR|FUJIFILMCCD-RAW|FOVb|\0MRM|II\*\0.{4}CR", RAW),
    (rb"%PDF", "PDF; turn its pages into images (pdftoppm -jpeg FILE page)"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", f"PostScript; {_TO_JPEG}"),
    (rb"8BPS", f"Photoshop; {_TO_JPEG}"),
    (rb"v/1\x01|#\?RADIANCE|#\?RGBE", f"high dynamic range; map it to 8 bits and {_TO_JPEG}"),
    (rb".{128}DICM", f"DICOM; {_TO_JPEG}"),
    (rb"PK\x03\x04|\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd|.{257}ustar", _ARCHIVE),
    (rb"\x93NUMPY", "a NumPy array; pass np.load(FILE) to Predictor"),
    (rb"\0\x05\x16\x07", "macOS's notes on a file of that name (._FILE), not the file"),
    (rb"version https://git-lfs", "a pointer of Git LFS; fetch the file (git lfs pull)"),
    (rb"/9j/|iVBORw0KGgo|data:image/", "an image as base64 text; decode it (base64 -d)"),
    (rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?(?:<!DOCTYPE svg[^>]*>\s*)?<svg",
     f"SVG, a drawing; {_TO_JPEG}"),
    (rb"\s*<(?:!doctype html|html|head|script)", "a web page, not the image that it shows"),
    (rb"\s*[\[{][\s\x20-\x7e]{9}", _TEXT),
)  # fmt: skip
_COMPILED = [(re.compile(start, re.DOTALL | re.IGNORECASE), kind) for start, kind in _KINDS]


def kind(content: bytes) -> str:
    """Kind of a file and what to do with it, in a few words; "" if it is none of those known."""
    start = content[:600]
    return next((kind for pattern, kind in _COMPILED if pattern.match(start)), "")


def is_heif(content: bytes) -> bool:
    """True for HEIC and other pictures of the HEIF family, except AVIF."""
    return content[4:8] == b"ftyp" and content[8:12] in _HEIF
