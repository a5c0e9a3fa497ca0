"""How large the frames in an AVIF really are, told from the AV1 stream and not from its container.

libavif decodes a frame at the size that its own sequence header names, whatever the container says,
and scales it afterwards: a file that claims 64x64 pixels can make it take gigabytes. Read here are
ISO/IEC 14496-12 boxes, as far as they say where a frame lies, and AV1's sequence header (5.5 in its
specification).
"""

from __future__ import annotations

from collections.abc import Iterator

_SEQUENCE_HEADER = 1
#: units of an AV1 stream; a still image has a few
_MAX_UNITS = 10_000
#: how often the bytes of a file may be used
_MAX_OVERLAP = 4
#: pieces of one item that are looked at; its sequence header comes first
_MAX_EXTENTS = 64
#: 4-byte version and flags at the start of a full box
_FULL = 4


def frame_sizes(data: bytes) -> list[tuple[int, int]]:
    """Width and height of every item and of every track's first frame.

    Raises ValueError or IndexError for a file of another structure.
    """
    boxes = dict(_boxes(data, 0, len(data)))
    sizes: list[tuple[int, int]] = []
    seen = 0
    for name in boxes.keys() & {"meta", "moov"}:
        for span in _spans(data, *boxes[name]):
            seen += len(span)
            if seen > _MAX_OVERLAP * len(data):
                raise ValueError("the same bytes are used again and again")
            sizes += _sequences(span)
    return sizes


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Names of boxes, and where their content begins and ends."""
    while start + 8 <= end:
        size, content = int.from_bytes(data[start : start + 4]), start + 8
        name = data[start + 4 : start + 8].decode("latin-1")
        if size == 1:
            size, content = int.from_bytes(data[content : content + 8]), content + 8
        stop = end if size == 0 else start + size
        if not content <= stop <= end:
            raise ValueError("a box ends outside its parent")
        yield name, (content, stop)
        start = stop


class _Fields:
    """Big-endian numbers, one after the other."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data, self._at, self._end = data, start, end

    def number(self, size: int) -> int:
        if self._at + size > self._end:
            raise ValueError("a box is too short")
        self._at += size
        return int.from_bytes(self._data[self._at - size : self._at])


def _spans(data: bytes, start: int, end: int) -> Iterator[bytes]:
    """The bytes of each AV1 item of `meta`, or of the first frame of each track of `moov`."""
    found = list(_boxes(data, start, end))
    if not any(name == "trak" for name, _ in found):
        boxes = dict(_boxes(data, start + _FULL, end))
        yield from _items(data, boxes)
        return
    for name, track in found:
        if name == "trak":
            for step in ("mdia", "minf", "stbl"):
                track = dict(_boxes(data, *track))[step]
            yield _first_frame(data, dict(_boxes(data, *track)))


def _items(data: bytes, boxes: dict[str, tuple[int, int]]) -> Iterator[bytes]:
    start, end = boxes["iinf"]
    entries = start + _FULL + (4 if data[start] else 2)
    av1 = set()
    for name, (content, stop) in _boxes(data, entries, end):
        wide = 4 if data[content] == 3 else 2
        fields = _Fields(data, content + _FULL, stop)
        item, _, kind = fields.number(wide), fields.number(2), fields.number(4)
        if name == "infe" and kind == int.from_bytes(b"av01"):
            av1.add(item)
    idat = boxes.get("idat", (0, 0))
    for item, in_idat, extents in _locations(data, *boxes["iloc"]):
        base, stop = idat if in_idat else (0, len(data))
        if item in av1 and sum(size for _, size in extents) <= len(data):
            yield b"".join(
                data[base + at : min(base + at + size if size else stop, stop)]
                for at, size in extents[:_MAX_EXTENTS]
            )


def _locations(
    data: bytes, start: int, end: int
) -> Iterator[tuple[int, bool, list[tuple[int, int]]]]:
    """Item id, whether its offsets count from `idat`, and its extents."""
    version = data[start]
    fields = _Fields(data, start + _FULL, end)
    sizes = fields.number(2)
    offset_size, length_size, base_size, index_size = (
        sizes >> shift & 15 for shift in (12, 8, 4, 0)
    )
    for _ in range(fields.number(2 if version < 2 else 4)):
        item = fields.number(2 if version < 2 else 4)
        method = fields.number(2) & 15 if version else 0
        fields.number(2)
        base = fields.number(base_size)
        extents = []
        for _ in range(fields.number(2)):
            fields.number(index_size if version else 0)
            extents.append((base + fields.number(offset_size), fields.number(length_size)))
        yield item, method == 1, extents


def _first_frame(data: bytes, table: dict[str, tuple[int, int]]) -> bytes:
    wide = 8 if "co64" in table else 4
    chunks = _Fields(data, *table["co64" if wide == 8 else "stco"])
    chunks.number(_FULL + 4)
    at = chunks.number(wide)
    sizes = _Fields(data, *table["stsz"])
    sizes.number(_FULL)
    size, count = sizes.number(4), sizes.number(4)
    if not size and count:
        size = sizes.number(4)
    return data[at : at + size]


def _sequences(stream: bytes) -> Iterator[tuple[int, int]]:
    """The size that each sequence header of an AV1 stream announces, at least one."""
    at, found = 0, 0
    for _ in range(_MAX_UNITS):
        if at >= len(stream):
            break
        header = stream[at]
        at += 2 if header & 4 else 1
        size = len(stream) - at
        if header & 2:
            size = shift = 0
            while True:
                byte = stream[at]
                at, size, shift = at + 1, size | (byte & 127) << shift, shift + 7
                if byte < 128 or shift > 56:
                    break
        if header >> 3 & 15 == _SEQUENCE_HEADER:
            found += 1
            yield _size(stream[at : at + size])
        at += size
    if not found:
        raise ValueError("no sequence header")


class _Bits:
    """Most significant first. Raises IndexError behind the end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> int:
        value = 0
        for _ in range(count):
            byte = self._data[self._at // 8]
            value = value << 1 | byte >> 7 - self._at % 8 & 1
            self._at += 1
        return value


def _size(header: bytes) -> tuple[int, int]:
    bits = _Bits(header)
    bits.take(4)
    if bits.take(1):  # reduced_still_picture_header
        bits.take(5)
    else:
        _skip_operating_points(bits)
    wide, high = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(wide) + 1, bits.take(high) + 1


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = _skip_timing(bits) if bits.take(1) else 0
    display_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if display_delay and bits.take(1):
            bits.take(4)


def _skip_timing(bits: _Bits) -> int:
    """The bits of a decoder buffer's delay; 0 without a decoder model."""
    bits.take(64)
    if bits.take(1):
        zeros = 0
        while not bits.take(1):
            zeros += 1
        bits.take(min(zeros, 32))
    if not bits.take(1):
        return 0
    delay_bits = bits.take(5) + 1
    bits.take(42)
    return delay_bits
