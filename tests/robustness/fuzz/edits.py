"""What can happen to bytes and to trees of plain values, as hypothesis strategies; checksums inside are renewed."""

from __future__ import annotations

import copy
import io
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hypothesis import strategies as st

Edit = tuple[Any, ...]
Spans = Sequence[tuple[int, int]]

NUMBERS = (0, 1, -1, 2, 7, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
LAYOUTS = [(end + kind, bits) for kind, bits in (("H", 16), ("I", 32), ("Q", 64)) for end in "<>"]
WORDS = sorted({struct.pack(layout, number % 2**bits) for number in NUMBERS for layout, bits in LAYOUTS})
NUMERALS = (b"0", b"-1", b"1", b"3", b"65536", b"2147483647", b"9223372036854775808", b"1" + b"0" * 30, b"nan", b"1e999", b"")
SIZES = st.sampled_from((1, 2, 3, 4, 8, 16, 64, 500, 5000))
# What a value in a tree becomes: other types, what is too large, not finite or not printable, and what would lead out of a file.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 3, 2**31, 2**63, -(2**63), 10**30, 0.5, -1.5, 1e308, float("inf"), float("nan")),
    *("", "x", "0", "nan", "\x1b[31m", "a\nb", "é\u2028", "\ud800", "../../x", "${oc.env:HOME}", "x" * 5000),
    *([], [None], {}, {"": None}, [[]], [2**40, 2**40], {"_target_": "os.system"}),
)


def bytes_edits(length: int, hot: Spans = ()) -> st.SearchStrategy[list[Edit]]:
    """One edit of `length` bytes, or up to four; three of four positions lie in `hot` (begin, end), where structure is."""
    anywhere = st.integers(0, max(0, length - 1))
    spans = [st.integers(begin, end - 1) for begin, end in hot if end > begin]
    at = st.one_of(*[st.one_of(*spans)] * 3, anywhere) if spans else anywhere
    kinds = [
        st.tuples(st.just("flip"), at, st.integers(0, 7)),
        st.tuples(st.just("byte"), at, st.integers(0, 255)),
        st.tuples(st.just("word"), at, st.sampled_from(WORDS)),
        st.tuples(st.just("word"), at, st.sampled_from(WORDS)),
        st.tuples(st.just("zero"), at, SIZES),
        st.tuples(st.just("repeat"), at, SIZES),
        st.tuples(st.just("delete"), at, SIZES),
        st.tuples(st.just("insert"), at, st.binary(min_size=1, max_size=16)),
        st.tuples(st.just("cut"), at),
        st.tuples(st.just("append"), SIZES, st.sampled_from((b"\0", b"\xff", b"a"))),
        st.tuples(st.just("digits"), st.integers(0, 40), st.sampled_from(NUMERALS)),
        st.tuples(st.just("swap"), at, at),
    ]
    one = st.one_of(kinds)
    return st.one_of(st.tuples(one).map(list), st.tuples(one).map(list), st.lists(one, min_size=2, max_size=4))


def edit_bytes(raw: bytes, edits: Iterable[Edit]) -> bytes:
    """Apply the edits one after the other; positions count modulo the length that is left."""
    for kind, where, *rest in edits:
        value = rest[0] if rest else None
        if kind == "append":
            raw += value * where
        elif kind == "digits":
            raw = _other_number(raw, where, value)
        elif raw:
            at = where % len(raw)
            raw = _edited(raw, kind, at - at % len(value) if kind == "word" else at, value)
    return raw


def _edited(raw: bytes, kind: str, at: int, value: Any) -> bytes:
    """One edit at a byte that exists."""
    head, tail = raw[:at], raw[at:]
    match kind:
        case "cut":
            return head
        case "flip":
            return head + bytes([tail[0] ^ (1 << value)]) + tail[1:]
        case "byte":
            return head + bytes([value]) + tail[1:]
        case "word":
            return head + value + tail[len(value) :]
        case "zero":
            return head + bytes(len(tail[:value])) + tail[value:]
        case "repeat":
            return head + tail[:value] + tail
        case "delete":
            return head + tail[value:]
        case "insert":
            return head + value + tail
    found, other = bytearray(raw), value % len(raw)
    found[at], found[other] = found[other], found[at]
    return bytes(found)


def _other_number(raw: bytes, which: int, numeral: bytes) -> bytes:
    """Another numeral in place of one of those written in digits at the beginning of a file."""
    spans: list[list[int]] = []
    for i, byte in enumerate(raw[:600]):
        if 48 <= byte < 58:
            if spans and spans[-1][1] == i:
                spans[-1][1] = i + 1
            else:
                spans.append([i, i + 1])
    if not spans:
        return raw
    begin, end = spans[which % len(spans)]
    return raw[:begin] + numeral + raw[end:]


def edited(raw: bytes, hot: Spans = ()) -> st.SearchStrategy[bytes]:
    """Edited bytes."""
    return bytes_edits(len(raw), hot).map(lambda edits: edit_bytes(raw, edits))


def ends(raw: bytes, size: int = 400) -> Spans:
    """The first and last bytes of a file."""
    return ((0, min(size, len(raw))), (max(0, len(raw) - size), len(raw)))


def around(raw: bytes, payload: bytes) -> Spans:
    """All that is not the given part."""
    at = raw.find(payload)
    assert at >= 0
    return ((0, at), (at + len(payload), len(raw)))


def trees(value: Any) -> st.SearchStrategy[Any]:
    """A tree of dictionaries and lists with one to three changes: dropped, of another type or value, renamed, doubled."""
    change = st.tuples(
        st.integers(0, _count(value) - 1),
        st.sampled_from(("drop", "put", "put", "rename", "double", "wrap")),
        st.sampled_from(VALUES),
    )
    changes = st.one_of(st.tuples(change).map(list), st.lists(change, min_size=1, max_size=3))
    return changes.map(lambda changes: edit_tree(value, changes))


def _places(node: Any) -> Iterable[tuple[Any, Any]]:
    """(container, key) of every value below a node."""
    for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield node, key
        yield from _places(node[key])


def _count(value: Any) -> int:
    return 1 + sum(1 for _ in _places(value))


def edit_tree(value: Any, changes: Iterable[Edit]) -> Any:
    """The changes one after the other, each at the place of its number."""
    top = [copy.deepcopy(value)]
    for number, kind, new in changes:
        places = list(_places(top))
        if not places:
            return new
        node, key = places[number % len(places)]
        if kind == "drop" and node is not top:
            del node[key]
        elif kind == "rename" and isinstance(node, dict):
            node[str(new)] = node.pop(key)
        elif kind == "double" and isinstance(node, list) and node is not top:
            node.insert(key, copy.deepcopy(node[key]))
        elif kind == "wrap":
            node[key] = [node[key]]
        else:
            node[key] = copy.deepcopy(new)
    return top[0] if top else None


def zipped(raw: bytes, inside: Callable[[str, bytes], st.SearchStrategy[bytes]]) -> st.SearchStrategy[bytes]:
    """A zip file with one member edited, dropped, doubled or renamed, and whole again: all CRCs hold."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]

    def rebuilt(changed: dict[int, list[tuple[str, bytes]]]) -> bytes:
        out = io.BytesIO()
        with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(out, "w") as archive:  # it remarks on doubled names
            for number, (info, content) in enumerate(members):
                for name, new in changed.get(number, [(info.filename, content)]):
                    archive.writestr(name, new, info.compress_type)
        return out.getvalue()

    def one(number: int) -> st.SearchStrategy[bytes]:
        info, content = members[number]
        name = info.filename
        renamed = st.sampled_from(("x", f"../{name}", f"/{name}", name * 2, f"{name}\n", "é.npy", "x" * 70000))
        inner = inside(name, content).map(lambda new: [(name, new)])
        whole = st.one_of(
            st.just([]),
            st.just([(name, content), (name, content)]),
            renamed.filter(lambda new: len(new) < 65535).map(lambda new: [(new, content)]),
        )
        return st.one_of(*[inner] * 6, whole).map(lambda entries: rebuilt({number: entries}))

    return st.integers(0, len(members) - 1).flatmap(one)


def png_chunks(raw: bytes) -> st.SearchStrategy[bytes]:
    """A PNG with the content of one chunk edited and its CRC renewed; the pixels also below their compression."""
    chunks, at = [], 8
    while at < len(raw):
        length = int.from_bytes(raw[at : at + 4], "big")
        chunks.append((raw[at + 4 : at + 8], raw[at + 8 : at + 8 + length]))
        at += 12 + length

    def rebuilt(number: int, content: bytes) -> bytes:
        found = raw[:8]
        for i, (kind, old) in enumerate(chunks):
            new = content if i == number else old
            found += struct.pack(">I", len(new)) + kind + new + struct.pack(">I", zlib.crc32(kind + new))
        return found

    def one(number: int) -> st.SearchStrategy[bytes]:
        kind, content = chunks[number]
        found = edited(content)
        if kind == b"IDAT":
            found = found | edited(zlib.decompress(content)).map(zlib.compress)
        return found.map(lambda new: rebuilt(number, new))

    return st.integers(0, len(chunks) - 1).flatmap(one)


def mat5_packed(raw: bytes) -> st.SearchStrategy[bytes]:
    """A compressed MATLAB 5 file of one variable with its matrix edited below the compression."""
    inner = zlib.decompress(raw[136:])

    def rebuilt(content: bytes) -> bytes:
        packed = zlib.compress(content)
        return raw[:128] + struct.pack("<2I", 15, len(packed)) + packed

    return edited(inner, ((0, 80),)).map(rebuilt)
