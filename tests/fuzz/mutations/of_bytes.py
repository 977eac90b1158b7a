"""Other bytes in the place of a file's."""

from __future__ import annotations

import struct
from collections.abc import Callable

from hypothesis import strategies as st

from tests.fuzz.mutations.change import Change
from tests.fuzz.readers import Reader

_NUMBERS = [
    0,
    1,
    -1,
    2,
    127,
    128,
    255,
    256,
    2**15,
    2**16 - 1,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**62,
    2**63 - 1,
]
_WIDTHS = [(1, "B"), (2, "H"), (4, "I"), (8, "Q")]


@st.composite
def mutated(draw: st.DrawFn, content: bytes) -> bytes:
    """A few changes of some bytes: cut, flipped, written over, inserted, removed, repeated, zeroed, other numbers."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.sampled_from([1, 2, 4, 8, 16, 64, 512, 4096]))
        kind = draw(st.sampled_from(["cut", "flip", "write", "insert", "remove", "repeat", "zero", "number", "swap"]))
        if kind == "cut":
            del data[at:]
        elif kind == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "write":
            data[at : at + 8] = draw(st.binary(min_size=1, max_size=8))
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=40))
        elif kind == "remove":
            del data[at : at + length]
        elif kind == "repeat":
            data[at:at] = data[at : at + length] * draw(st.sampled_from([1, 2, 50]))
        elif kind == "zero":
            data[at : at + length] = bytes(len(data[at : at + length]))
        elif kind == "number":
            width, code = draw(st.sampled_from(_WIDTHS))
            value = draw(st.sampled_from(_NUMBERS)) % 2 ** (8 * width)
            data[at : at + width] = struct.pack(draw(st.sampled_from("<>")) + code, value)
        elif kind == "swap":
            other = draw(st.integers(0, max(len(data) - 1, 0)))
            data[at : at + length], data[other : other + length] = data[other : other + length], data[at : at + length]
    return bytes(data)


def bytes_of(reader: Reader, content: Callable[[str], bytes]) -> st.SearchStrategy[Change]:
    """Any bytes in the place of one of a reader's files, or changes of what is there."""

    def change(file: str) -> st.SearchStrategy[Change]:
        others = st.one_of(st.binary(max_size=300), mutated(content(file)), mutated(content(file)))
        return others.map(lambda data: lambda folder: (folder / file).write_bytes(data))

    return st.sampled_from(reader.files).flatmap(change)
