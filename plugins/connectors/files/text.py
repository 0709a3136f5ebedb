"""From bytes to lines: zipped or not, with or without a mark of the encoding, some of them spoilt, the last one cut."""

import codecs
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from io import BufferedReader, StringIO
from itertools import chain
from typing import Any

# Small enough for what is made of it to stay in the processor's caches: a megabyte at a time takes a third longer.
CHUNK = 1 << 17

# Without a bound, a file without line ends would be taken into memory whole.
LONGEST_LINE = 8 << 20

# how much is kept of what could not be read
LONGEST_KEPT = 100_000
MOST_SPOILT_BYTES_KEPT = 1_000

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark is how this one begins
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_GZIP = b"\x1f\x8b"
_NO_TEXT = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook. Export it as CSV",
    b"PAR1": "a Parquet file. Name it .parquet",
}

# Bytes that are no text in the encoding stand in the text as these characters, which no text holds.
_FIRST_SPOILT = 0xDC00
_SPOILT = re.compile("[\udc00-\udcff]")
_UNSTORABLE = re.compile("[\udc00-\udcff\0]")
_PLACEHOLDER = "\ufffd"


def _spell_out(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(_FIRST_SPOILT + byte) for byte in error.object[error.start : error.end]), error.end


_ERRORS = "connectors.files.spell_out"
codecs.register_error(_ERRORS, _spell_out)


class Unreadable(Exception):
    """Nothing of a file can be read. In the message, {file} stands for its name."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A line that cannot be read. `unfinished` if the file ends within it, as it does while it is being written."""

    line: int
    reason: str
    text: str
    unfinished: bool = False


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines with their ends, which only the last one of a file may lack.

    `spoilt` says which of them, counted from 0, hold what no database stores, and what that is.
    """

    first: int
    lines: list[str]
    spoilt: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Encoding:
    """If `is_marked`, the file itself says it, and what is declared does not matter."""

    name: str
    is_marked: bool = False


def read(file: BufferedReader, declared: str) -> tuple[Encoding, Iterator[Lines | Broken]]:
    """The encoding and the lines of a file. What its first bytes say of both is surer than its name and declaration."""
    start = file.peek(4)[:4]
    for magic, what in _NO_TEXT.items():
        if start.startswith(magic):
            raise Unreadable(f"{{file}} is {what}.")
    chunks: Iterator[bytes | str] = iter(partial(file.read, CHUNK), b"")
    if start.startswith(_GZIP):
        chunks = _unzipped(file)
    head = next(chunks, b"")
    if isinstance(head, str):
        raise Unreadable(f"{{file}} {head} at its very beginning. Export it again.")
    mark, name = next(((mark, named) for mark, named in _MARKS if head.startswith(mark)), (b"", declared))
    return Encoding(name, bool(mark)), _lines(chain([head[len(mark) :]], chunks), name)


def reason_against(line: str, encoding: str) -> str | None:
    """Why this line could not be stored."""
    if "\0" in line:
        return "holds a NUL byte"
    if not line.isascii() and _SPOILT.search(line):
        return f"holds bytes that are not text in {encoding}: declare the encoding of the file, such as latin-1"
    return None


def is_cut(line: str) -> bool:
    """Whether the file ends within this line."""
    return not line.endswith(("\n", "\r"))


def kept(line: str, encoding: Encoding) -> dict[str, Any]:
    """The line in a form that any database stores, with the bytes in it that are no text, so that they are not lost."""
    line = line.rstrip("\r\n")
    if len(line) > LONGEST_KEPT:
        return {"line": _UNSTORABLE.sub(_PLACEHOLDER, line[:LONGEST_KEPT]), "is_partial": True}
    spoilt = [[match.start(), ord(match[0]) & 0xFF] for match in _UNSTORABLE.finditer(line)]
    if not spoilt:
        return {"line": line}
    raw: dict[str, Any] = {"line": _UNSTORABLE.sub(_PLACEHOLDER, line)}
    if len(spoilt) > MOST_SPOILT_BYTES_KEPT:
        return {**raw, "is_partial": True}
    return {**raw, "bytes": spoilt, "encoding": encoding.name, "is_marked": encoding.is_marked}


def restored(raw: Mapping[str, Any], encoding: Encoding) -> str:
    """The line that was kept, with its spoilt bytes, read in this encoding."""
    line = str(raw["line"])
    if not raw.get("bytes"):
        return line
    content, done = bytearray(), 0
    for position, byte in raw["bytes"]:
        content += line[done:position].encode(raw["encoding"])
        content.append(byte)
        done = position + len(_PLACEHOLDER)
    content += line[done:].encode(raw["encoding"])
    return codecs.decode(bytes(content), encoding.name, _ERRORS)


def _lines(chunks: Iterator[bytes | str], encoding: str) -> Iterator[Lines | Broken]:
    decoder = codecs.getincrementaldecoder(encoding)(_ERRORS)
    rest, number, too_long, broke_off = "", 1, False, ""
    for chunk in chain(chunks, [b""]):
        if isinstance(chunk, str):
            broke_off = chunk
            break
        text = rest + decoder.decode(chunk, final=not chunk)
        lines = list(StringIO(text, newline=""))
        # A line feed may follow the carriage return.
        rest = lines.pop() if lines and chunk and not lines[-1].endswith("\n") else ""
        if too_long and lines:
            lines, number, too_long = lines[1:], number + 1, False
        if lines:
            yield Lines(number, lines, _spoilt(text, lines, encoding))
            number += len(lines)
        if len(rest) > LONGEST_LINE:
            if not too_long:
                yield Broken(number, f"is longer than {LONGEST_LINE:,} characters", rest)
            # What matters of the rest is whether it ends.
            rest, too_long = rest[-1:], True
    if broke_off:
        yield Broken(number, f"is where the file {broke_off}. Export it again", rest, unfinished=True)


def _spoilt(text: str, lines: list[str], encoding: str) -> Mapping[int, str]:
    if "\0" not in text:
        if text.isascii():
            return {}
        try:
            text.encode()
        except UnicodeEncodeError:
            pass
        else:
            return {}
    return {place: reason for place, line in enumerate(lines) if (reason := reason_against(line, encoding))}


def _unzipped(file: BufferedReader) -> Iterator[bytes | str]:
    """The content of a gzip file as far as it goes. If it breaks off, the last thing is the words for it."""
    inflater = zlib.decompressobj(wbits=31)
    for packed in iter(partial(file.read, CHUNK), b""):
        rest = packed
        while rest:
            if inflater.eof:
                rest = rest.lstrip(b"\0")  # some tools fill up the last block
                if not rest:
                    break
                inflater = zlib.decompressobj(wbits=31)
            try:
                content = inflater.decompress(rest, CHUNK)
            except zlib.error:
                # Where the damage began nobody knows: what came before the error may be nonsense already.
                raise Unreadable("{file} is damaged gzip. Copy or export it again.") from None
            if content:
                yield content
            rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    while not inflater.eof and (content := inflater.decompress(b"", CHUNK)):
        yield content
    if not inflater.eof:
        yield "breaks off: its gzip data has no end"
