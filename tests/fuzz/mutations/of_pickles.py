"""Other opcodes in pickles."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from hypothesis import strategies as st

from tests.fuzz.mutations.change import Change

_OPCODES = [
    b"cos\nsystem\n",
    b"cposix\nsystem\n",
    b"c__builtin__\neval\n",
    b"cbuiltins\nbytearray\n",
    b"ctorch\nload\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch\nFloatStorage\n",
    b"ccollections\nOrderedDict\n",
    b"(",
    b")",
    b"R",
    b"b",
    b"}",
    b"]",
    b"Q",
    b"\x81",
    b"\x93",
    b"0",
    b"2",
    b".",
    b"K\x07",
    b"J\xff\xff\xff\x7f",
    b"\x8a\x08" + b"\xff" * 7 + b"\x7f",
    b"X\xff\xff\xff\x7f",
    b"X\x02\x00\x00\x00hi",
    b"h\x00",
    b"q\x00",
    b"u",
    b"s",
    b"t",
]


@st.composite
def pickle_of(draw: st.DrawFn, file: str, content: bytes) -> Change:
    """A file of torch.save with other opcodes in its pickle: in a zip that is sound, or as before torch 1.6."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        at = draw(st.integers(0, min(len(content), 4000)))
        code = b"".join(draw(st.lists(st.sampled_from(_OPCODES), min_size=1, max_size=6)))
        data = content[:at] + code + content[at + draw(st.sampled_from([0, 1, len(code)])) :]
        return lambda folder: (folder / file).write_bytes(data)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        good = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in good if name.endswith("data.pkl"))
    pickled = good[name]
    at = draw(st.integers(0, len(pickled)))
    code = b"".join(draw(st.lists(st.sampled_from(_OPCODES), min_size=1, max_size=6)))
    changed = draw(
        st.sampled_from([pickled[:at] + code + pickled[at:], pickled[:at] + code, b"\x80\x02" + code + b"."])
    )

    def write(folder: Path) -> None:
        with zipfile.ZipFile(folder / file, "w") as archive:
            for member, data in (good | {name: changed}).items():
                archive.writestr(member, data)

    return write
