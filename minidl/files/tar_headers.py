"""The headers of a tar: what each member is called, what it is and where its bytes are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from minidl.files.tape import Tape
from minidl.files.words import shown
from minidl.ir import ArgumentError

BLOCK = 512
LONG_NAME, LONG_LINK, SPARSE = b"L", b"K", b"S"
PAX, PAX_OF_ALL = (b"x", b"X"), b"g"
REGULAR, FOLDER = (b"0", b"\0", b"7"), b"5"
HOLES = b"GNU.sparse."
WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")
"""Types of members: of GNU, of pax, with content; what pax calls the holes of sparse ones; types
whose size says nothing."""

WORDS, RECORDS = 2**16, 64
"""Bytes of a pax header or a long name at most, and records of it: attributes of a file fit, and
any path does."""

NAME = 4096
"""Characters of a member's name at most: the longest path of Linux."""


@dataclass(frozen=True, slots=True)
class Found:
    """A member; the tape stands at the first of its bytes."""

    name: str
    regular: bool
    folder: bool
    offset: int
    size: int


def found(tape: Tape) -> Iterator[Found]:
    """Every member. Whoever takes one may read its bytes, which are passed over otherwise.

    ArgumentError where a header is none. No header makes work but that of its bytes.
    """
    said: dict[bytes, bytes] = {}
    first = True
    while (block := tape.read(BLOCK)) and block.strip(b"\0"):
        _require_sum(block, first)
        first, kind, size = False, block[156:157], _number(block[124:136])
        if kind in (LONG_NAME, LONG_LINK, *PAX, PAX_OF_ALL):
            said |= _said(kind, _words(tape, size))
            continue
        if kind == SPARSE:
            _pass_over_holes(tape, block)
        name = _name(said.get(b"path", _own_name(block)))
        size = 0 if kind in WITHOUT_DATA else _size(said, size)
        sparse = kind == SPARSE or HOLES in said
        folder = kind == FOLDER or (kind in REGULAR and name.endswith("/"))
        regular = kind in REGULAR and not sparse and not folder
        start = tape.at
        yield Found(name, regular, folder, start, size)
        tape.skip(start + size + -size % BLOCK - tape.at)
        said = {}
    if not block:
        raise ArgumentError(
            "not a tar that can be read: it is empty" if first else "cut short: it has no end"
        )


def _require_sum(block: bytes, first: bool) -> None:
    """The header's own sum, its field counted as blanks; old programs add signed bytes."""
    field = block[148:156]
    given, plain = _number(field), sum(block) - sum(field) + 8 * 0x20
    if given == plain:
        return
    signed = plain - 256 * sum(byte > 127 for byte in block[:148] + block[156:])
    if given != signed:
        where = "not a tar that can be read" if first else "damaged"
        raise ArgumentError(f"{where}: a header's checksum is not that of its bytes")


def _number(field: bytes) -> int:
    """Octal digits, or, where the first bit is set, the other bits; a negative one is refused."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.split(b"\0")[0].strip()
    if not digits:
        return 0
    if not digits.isdigit() or max(digits) > ord("7"):
        raise ArgumentError(f"not a tar that can be read: {shown(repr(digits))} is no number")
    return int(digits, 8)


def _words(tape: Tape, size: int) -> bytes:
    """The content of a header that says something of the next."""
    if size > WORDS:
        raise ArgumentError(f"a name or header in it has {size:,} bytes, {WORDS:,} are allowed")
    words = tape.read(size) if size else b""
    if len(words) != size:
        raise ArgumentError("cut short inside of a header")
    tape.skip(-size % BLOCK)
    return words


def _said(kind: bytes, words: bytes) -> dict[bytes, bytes]:
    """By pax's keys, what a header says of the member behind it."""
    if kind == LONG_LINK:
        return {}
    if kind == LONG_NAME:
        return {b"path": words.split(b"\0")[0]}
    known = ((HOLES if key.startswith(HOLES) else key, value) for key, value in _pairs(words))
    pairs = {key: value for key, value in known if key in (b"path", b"size", HOLES)}
    if kind != PAX_OF_ALL:
        return pairs
    if pairs:
        raise ArgumentError("a header gives all members one name, size or list of holes: refused")
    return {}


def _pairs(words: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The records `<length> <key>=<value>\\n` of a pax header; the length is the record's own."""
    at, count = 0, 0
    while at < len(words) and words[at : at + 1] != b"\0":
        count += 1
        if count > RECORDS:
            raise ArgumentError(f"a pax header has more than {RECORDS} records")
        digits = words[at : at + 8].split(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        record = words[at : at + length]
        key, equals, value = record[len(digits) + 1 :].partition(b"=")
        if len(record) != length or not record.endswith(b"\n") or not (key and equals):
            raise ArgumentError("damaged: a pax header has a record that is none")
        yield key, value[:-1]
        at += length


def _size(said: dict[bytes, bytes], size: int) -> int:
    """As the pax header has it, where there is one."""
    digits = said.get(b"size", b"")
    if not digits:
        return size
    if not digits.isdigit() or len(digits) > 20:
        raise ArgumentError(f"damaged: a size of {shown(repr(digits))}")
    return int(digits)


def _own_name(block: bytes) -> bytes:
    """The name in a header, behind its prefix in those of POSIX."""
    name = block[:100].split(b"\0")[0]
    prefix = block[345:500].split(b"\0")[0] if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _name(raw: bytes) -> str:
    if len(raw) > NAME:
        raise ArgumentError(f"a name in it has {len(raw):,} bytes, {NAME:,} are allowed")
    return raw.decode("utf-8", "surrogateescape")


def _pass_over_holes(tape: Tape, block: bytes) -> None:
    """The list of holes goes on in blocks of its own."""
    more = block[482]
    while more:
        rest = tape.read(BLOCK)
        if not rest:
            raise ArgumentError("cut short inside of a header")
        more = rest[504]
