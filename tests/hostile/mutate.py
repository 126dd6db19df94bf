"""Hostile versions of good files: damaged, inflated, nested, spliced, with repaired checksums."""

import contextlib
import gzip
import io
import json
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

MOST = 300_000  # bytes per input
TOKENS = [
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", "\u202e\u0000\u2028".encode(), "ÿ🙂".encode(),
    b"../secret", b"../../secret", b"/etc/passwd", b"..\\secret", b"~", b".", b"NUL", b"file:///etc/passwd",
    b"\x1b[31m", b"%s%n", b"{}", b"${x}", b"\r", b"\n\n", b"\t", b'"', b"'", b",", b"a" * 5000,
    b"[" * 20_000, b'{"a":' * 20_000, b"(" * 3000, b"-" * 3000,
]  # fmt: skip
NUMBERS = [
    b"0", b"-1", b"1", b"2", b"255", b"65536", b"2147483647", b"2147483648", b"-9223372036854775808",
    b"18446744073709551616", b"1e999", b"-1e999", b"nan", b"NaN", b"Infinity", b"1e-320", b"0.5",
    b"9" * 400, b"9" * 5000, b"1_0", b"0x10", b"true", b"null", b"[]", b"{}", b'""',
]  # fmt: skip
_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.5, 1e308, float("nan"), float("inf"), "",
    "a", "\0", "../secret", "/etc/passwd", "\ud800", "\x1b[31m", "9" * 5000, [], {}, [[]], [None], {"": {}},
    {"a": 1}, ["a"], [1, 2], [0.5], [[0, 2], [1, 1]], "x" * 100_000,
]  # fmt: skip

Mutator = Callable[[random.Random, bytes], bytes]


def _span(rng: random.Random, content: bytes, most: int = 64) -> tuple[int, int]:
    start = rng.randrange(len(content) + 1)
    return start, min(start + rng.randint(0, most), len(content))


def _flip(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 8) if content else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _truncate(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _nothing(rng: random.Random, content: bytes) -> bytes:
    return b"" if rng.random() < 0.2 else content[:8]


def _repeat(rng: random.Random, content: bytes) -> bytes:
    start, stop = _span(rng, content, 4096)
    times = min(rng.choice([2, 3, 100, 5000]), MOST // max(stop - start, 1))
    return content[:start] + content[start:stop] * times + content[stop:]


def _delete(rng: random.Random, content: bytes) -> bytes:
    start, stop = _span(rng, content)
    return content[:start] + content[stop:]


def _insert(rng: random.Random, content: bytes) -> bytes:
    start, stop = _span(rng, content, 8)
    return content[:start] + rng.choice(TOKENS) + content[stop if rng.random() < 0.5 else start :]


def _inflate(rng: random.Random, content: bytes) -> bytes:
    """Replaces bytes that may be a length, mostly by a huge one."""
    size = rng.choice([1, 2, 4, 8])
    value = rng.choice([0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 1) - 1,
                        10**9 % 2 ** (8 * size), rng.randrange(2 ** (8 * size))])  # fmt: skip
    number = value.to_bytes(size, rng.choice(["little", "big"]))
    number = b"\xff" * rng.randint(1, 9) + b"\x7f" if rng.random() < 0.2 else number
    # Headers are short and at the start.
    reach = len(content) if rng.random() < 0.5 else min(len(content), 200)
    start = rng.randrange(reach + 1)
    return content[:start] + number + content[start + len(number) :]


def _number(rng: random.Random, content: bytes) -> bytes:
    found = list(re.finditer(rb"-?\d+(\.\d+)?(e-?\d+)?", content[:50_000]))
    if not found:
        return content
    place = rng.choice(found)
    return content[: place.start()] + rng.choice(NUMBERS) + content[place.end() :]


def _lines(rng: random.Random, content: bytes) -> bytes:
    lines = content.split(b"\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(3):
        case 0:
            lines[one], lines[other] = lines[other], lines[one]
        case 1:
            lines.insert(one, lines[other])
        case _:
            del lines[one]
    return b"\n".join(lines)


def _changed_value(rng: random.Random, value: Any) -> Any:
    """JSON with one part of it replaced, removed or nested."""
    if isinstance(value, dict | list) and value and rng.random() < 0.85:
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        copy = dict(value) if isinstance(value, dict) else list(value)
        if rng.random() < 0.1:
            del copy[key]
        elif isinstance(copy, dict) and rng.random() < 0.05:
            copy[str(rng.choice(_VALUES))[:200]] = copy.pop(key)
        else:
            copy[key] = _changed_value(rng, value[key])
        return copy
    return [value] if rng.random() < 0.1 else rng.choice(_VALUES)


def _json(rng: random.Random, content: bytes) -> bytes:
    """Mutates a JSON file, one line of many, or the header of safetensors."""
    before, text, after = b"", content, b""
    if content[8:9] == b"{":
        length = int.from_bytes(content[:8], "little")
        text, after = content[8 : 8 + length], content[8 + length :]
    elif content.count(b"}\n{"):
        lines = content.splitlines(keepends=True)
        place = rng.randrange(len(lines))
        before, text, after = b"".join(lines[:place]), lines[place], b"".join(lines[place + 1 :])
    try:
        value = _changed_value(rng, json.loads(text))
        changed = json.dumps(value, allow_nan=True).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return content
    if content[8:9] == b"{":
        return len(changed).to_bytes(8, "little") + changed + after
    return before + changed + (b"\n" if text.endswith(b"\n") else b"") + after


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value, at, shift = value | (byte & 0x7F) << shift, at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 70:
            raise ValueError


def _fields(content: bytes) -> list[tuple[int, bytes]]:
    """(tag, value) pairs of a protobuf message; raises ValueError or IndexError if it is none."""
    at, found = 0, []
    while at < len(content):
        tag, at = _read_varint(content, at)
        start = at
        if tag & 7 == 0:
            _, at = _read_varint(content, at)
        elif tag & 7 == 2:
            length, start = _read_varint(content, at)
            at = start + length
        elif tag & 7 in (1, 5):
            at += 8 if tag & 7 == 1 else 4
        else:
            raise ValueError
        if at > len(content) or not tag >> 3:
            raise ValueError
        found.append((tag, content[start:at]))
    return found


def _protobuf(rng: random.Random, content: bytes) -> bytes:
    """Changes a field of a message, nested or not, and corrects all lengths around it."""
    try:
        fields = _fields(content)
    except (ValueError, IndexError):
        return _plain(rng, content)
    if not fields:
        return content
    place = rng.randrange(len(fields))
    tag, value = fields[place]
    match rng.randrange(12):
        case 0:
            del fields[place]
        case 1:
            fields.insert(rng.randrange(len(fields)), fields[place])
        case 2:
            fields[place] = tag ^ 1 << rng.randrange(3, 7), value
        case 3:
            fields += [fields[place]] * rng.choice([2, 50, 2000])
        case _ if tag & 7 == 2:
            fields[place] = tag, _protobuf(rng, value)
        case _ if tag & 7 == 0:
            number = rng.choice([0, 1, 2, 2**31 - 1, 2**31, 2**63, 2**64 - 1, rng.randrange(300)])
            fields[place] = tag, _varint(number)
        case _:
            fields[place] = tag, rng.randbytes(len(value))
    return b"".join(
        _varint(tag) + (_varint(len(value)) + value if tag & 7 == 2 else value)
        for tag, value in fields
    )


def _zipped(rng: random.Random, content: bytes) -> bytes:
    """Changes a member of an archive and corrects its checksum; sometimes compresses."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except Exception:
        return content
    if not members:
        return content
    place = rng.randrange(len(members)) if rng.random() < 0.3 else 0
    name, inside = members[place]
    inside, name = _plain(rng, inside), name if rng.random() < 0.95 else "../secret"
    members[place] = name, inside
    written, how = io.BytesIO(), zipfile.ZIP_DEFLATED if rng.random() < 0.1 else zipfile.ZIP_STORED
    with zipfile.ZipFile(written, "w", how) as archive:
        for name, inside in members:
            archive.writestr(name, inside)
    return written.getvalue()


def _gzipped(rng: random.Random, content: bytes) -> bytes:
    try:
        return gzip.compress(_repaired_tar(_plain(rng, gzip.decompress(content))), 1)
    except Exception:
        return content


def _repaired_tar(content: bytes) -> bytes:
    """Corrects the checksums of all headers."""
    changed = bytearray(content)
    for start in range(0, len(content) - 511, 512):
        if content[start + 257 : start + 262] == b"ustar":
            changed[start + 148 : start + 156] = b" " * 8
            changed[start + 148 : start + 156] = b"%06o\0 " % sum(changed[start : start + 512])
    return bytes(changed)


def _repaired_png(content: bytes) -> bytes:
    """Corrects the checksums of all chunks."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content
    changed, at = bytearray(content), 8
    while at + 12 <= len(changed):
        (length,) = struct.unpack_from(">I", changed, at)
        if at + 12 + length > len(changed):
            break
        struct.pack_into(
            ">I", changed, at + 8 + length, zlib.crc32(changed[at + 4 : at + 8 + length])
        )
        at += 12 + length
    return bytes(changed)


_PLAIN: list[Mutator] = [
    _flip, _flip, _truncate, _nothing, _repeat, _delete, _insert, _inflate, _inflate, _number, _number,
    _lines,
]  # fmt: skip


def _plain(rng: random.Random, content: bytes) -> bytes:
    return rng.choice(_PLAIN)(rng, content)[:MOST]


def _deep(content: bytes) -> list[Mutator]:
    """Mutators that know a format; few other inputs get past its first check."""
    found: list[Mutator] = []
    if content[:1] == b"{" or content[8:9] == b"{":
        found.append(_json)
    if content[:2] == b"PK":
        found.append(_zipped)
    if content[:2] == b"\x1f\x8b":
        found.append(_gzipped)
    with contextlib.suppress(ValueError, IndexError):
        if _fields(content):
            found.append(_protobuf)
    return found


def mutated(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One hostile input, made from good ones."""
    content = rng.choice(seeds)
    if rng.random() < 0.05:
        other = rng.choice(seeds)
        content = _truncate(rng, content) + other[rng.randrange(len(other) + 1) :]
    deep = _deep(content)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        known = deep and rng.random() < 0.7
        content = rng.choice(deep)(rng, content) if known else _plain(rng, content)
        content = content[:MOST]
    if rng.random() < 0.8:
        content = _repaired_png(_repaired_tar(content))
    return content
