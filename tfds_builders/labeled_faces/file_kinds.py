"""Names files that are not what they should be, by their first bytes."""

import re

_KINDS = (
    (rb"PK\x03\x04.*xl/", "an Excel workbook (xlsx); save it as CSV UTF-8"),
    (rb"PK\x03\x04.*opendocument", "an OpenDocument file; save it as CSV"),
    (rb"PK\x03\x04", "a zip archive; unpack it"),
    (rb"\xd0\xcf\x11\xe0", "an old Excel workbook (xls); save it as CSV UTF-8"),
    (rb"\x1f\x8b", "compressed by gzip; unpack it with gunzip"),
    (rb"version https://git-lfs\.github\.com/", "a Git LFS pointer; fetch the file with git lfs pull"),
    (rb"(?:\xef\xbb\xbf)?\s*(?:<!--.*-->\s*)?<(?:!doctype\s+html|html|head|body)\b",
     "an HTML page; download the file itself"),
    (rb"....ftypavi[fs]", "AVIF; convert it to JPEG or PNG"),
    (rb"....ftyp(?:hei|hev|mif1|msf1)", "HEIC; convert it to JPEG or PNG"),
)  # fmt: skip


def kind(content: bytes) -> str:
    """Kind of a file and the remedy, such as "AVIF; convert it to JPEG or PNG"; "" if not known here.

    Args:
      content: the file, or its beginning.
    """
    flags = re.DOTALL | re.IGNORECASE
    return next((text for start, text in _KINDS if re.match(start, content, flags)), "")
