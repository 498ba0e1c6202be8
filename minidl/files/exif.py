"""The orientation that a camera writes into a JPEG or PNG: how the image is to be turned.

Layout: CIPA DC-008, *Exif 2.32*, sections 4.5.2 (APP1) and 4.6.2 (directories), tag 0x0112;
W3C, *Portable Network Graphics Specification*, third edition, 11.3.3.6 (eXIf). What is damaged says
nothing; the work is bounded by the file's markers and chunks.
"""

from __future__ import annotations

import struct

UPRIGHT = 1
ORIENTATION, SHORT = 0x0112, 3
"""The tag, and its type."""

ENTRIES = 512
"""Of a directory, at most so many are looked at."""

PNG, EXIF = b"\x89PNG\r\n\x1a\n", b"Exif\0\0"
SOI, SOS, EOI, APP1 = 0xD8, 0xDA, 0xD9, 0xE1


def orientation(raw: bytes) -> int:
    """1 to 8 as Exif has it: 1 upright, 2 mirrored, 3 upside down, ...; 1 where nothing is said."""
    tiff = _of_png(raw) if raw.startswith(PNG) else _of_jpeg(raw)
    return _orientation(tiff)


def _of_jpeg(raw: bytes) -> bytes:
    """What the first APP1 segment with Exif has, in front of the image's data."""
    at = 2
    while raw[at : at + 1] == b"\xff" and at + 4 <= len(raw):
        marker = raw[at + 1]
        if marker == 0xFF:  # a filler
            at += 1
            continue
        length = int.from_bytes(raw[at + 2 : at + 4], "big")
        if marker in (SOS, EOI) or length < 2:
            break
        body = at + 4
        if marker == APP1 and raw.startswith(EXIF, body):
            return raw[body + len(EXIF) : at + 2 + length]
        at += 2 + length
    return b""


def _of_png(raw: bytes) -> bytes:
    """What the chunk eXIf has, in front of the image's data or behind it."""
    at = len(PNG)
    while at + 8 <= len(raw):
        length, kind = int.from_bytes(raw[at : at + 4], "big"), raw[at + 4 : at + 8]
        if kind == b"eXIf":
            return raw[at + 8 : at + 8 + length].removeprefix(EXIF)
        at += 12 + length
    return b""


def _orientation(tiff: bytes) -> int:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return UPRIGHT
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if start + 2 > len(tiff):
        return UPRIGHT
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    for number in range(min(count, ENTRIES)):
        at = start + 2 + 12 * number
        if at + 12 > len(tiff):
            break
        tag, kind, values, value = struct.unpack_from(f"{order}HHIH", tiff, at)
        if tag == ORIENTATION:
            said = kind == SHORT and values == 1 and 1 <= value <= 8
            return int(value) if said else UPRIGHT
    return UPRIGHT
