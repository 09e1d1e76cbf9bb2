"""The aspect ratio of pixels in the header of a Matroska file.

PyAV's muxer leaves the ratio out, and players would show squeezed pictures. Sources: RFC 9559 (Matroska) and RFC 8794 (EBML: an
element is its identifier, its size and its content).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

SEGMENT, TRACKS, TRACK, TYPE, VIDEO = b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\xae", b"\x83", b"\xe0"
DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT = b"\x54\xb0", b"\x54\xba", b"\x54\xb2"
CRC, VOID, NO_ADDITIONS = b"\xbf", b"\xec", b"\x55\xee\x81\x00"
HEADER = 2**20  # bytes in which the tracks are looked for


def write_matroska_aspect(path: Path, height: int, width: int, aspect: Fraction) -> bool:
    """Write the pixel aspect ratio into a Matroska header without moving what follows. Return False if the header has no room.

    Args:
        path: A complete Matroska file.
        height: Rows of the video.
        width: Columns of the video.
        aspect: Width of a pixel over its height.
    """
    with path.open("r+b") as file:
        head = file.read(HEADER)
        for name, start, stop in _elements(head, _content(head, SEGMENT), len(head)):
            if name == TRACKS and stop <= len(head):
                tracks = _with_aspect(head[start:stop], height, round(width * aspect))
                if len(tracks) == stop - start:
                    file.seek(start)
                    file.write(tracks)
                    return True
    return False


def _with_aspect(tracks: bytes, height: int, width: int) -> bytes:
    """Return the content of the Tracks element, in which the video's TrackEntry has the display size."""
    out, last = b"", 0
    for name, start, stop in _elements(tracks, 0, len(tracks)):
        entry = tracks[start:stop]
        if name == TRACK and entry[_content(entry, TYPE)] == 1:
            entry = _entry(entry, height, width)
        out += tracks[last:start] + entry
        last = stop
    if out.startswith(CRC):
        out = out[:2] + zlib.crc32(out[6:]).to_bytes(4, "little") + out[6:]
    return out


def _entry(entry: bytes, height: int, width: int) -> bytes:
    """Return a TrackEntry's content with a new display size; the length stays if padding and a default value make room."""
    out, last = b"", 0
    for name, start, stop in _elements(entry, 0, len(entry)):
        whole, content = entry[last:stop], entry[start:stop]
        last = stop
        if name == VIDEO:
            kept, at = b"", 0
            for child, _, end in _elements(content, 0, len(content)):
                if child not in (DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT):
                    kept += content[at:end]
                at = end
            out += _element(VIDEO, kept + _number(DISPLAY_WIDTH, width) + _number(DISPLAY_HEIGHT, height))
        elif name != VOID and whole != NO_ADDITIONS:
            out += whole
    left = len(entry) - len(out)
    return out + (_element(VOID, bytes(left - 2)) if 2 <= left < 128 else b"")


def _elements(data: bytes, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the identifier of each EBML element, with the start and stop of its content."""
    while start + 2 <= stop:
        size_at = start + 9 - data[start].bit_length()
        begin = size_at + 9 - data[size_at].bit_length()
        size = int.from_bytes(data[size_at:begin], "big") - (1 << 7 * (begin - size_at))
        yield data[start:size_at], begin, begin + size
        start = begin + size


def _content(data: bytes, wanted: bytes) -> int:
    """Return the index where the content of the first element `wanted` begins."""
    return next(start for name, start, _ in _elements(data, 0, len(data)) if name == wanted)


def _element(name: bytes, content: bytes) -> bytes:
    length = 1 if len(content) < 127 else 2
    return name + (len(content) + (1 << 7 * length)).to_bytes(length, "big") + content


def _number(name: bytes, value: int) -> bytes:
    return _element(name, value.to_bytes((value.bit_length() + 7) // 8, "big"))
