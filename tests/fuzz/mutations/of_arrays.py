"""Other arrays: .npy with any header, and .npz and HDF5 with other members."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st

from tests.exploding import Exploding
from tests.fuzz.mutations.change import Change
from tests.fuzz.mutations.of_bytes import mutated
from tests.fuzz.readers.datasets import sprites

_dtypes = st.sampled_from(
    [
        "<f8",
        ">f8",
        "<f4",
        "<f2",
        "<i8",
        "|u1",
        "|b1",
        "<c16",
        "<U5",
        "|S3",
        "|O",
        "<M8[s]",
        "|V7",
        "<f16",
        "f4,i8",
        "x",
        "",
    ]
)
_lengths = st.sampled_from([0, 1, 2, 7, 8, 48, 64, 2**20, 2**31, 2**40, 2**62, 2**63, -1, 10**30])


@st.composite
def npy(draw: st.DrawFn, good: bytes) -> bytes:
    """An .npy with any header: types, shapes, orders, junk, claims of terabytes."""
    shape = tuple(draw(st.lists(_lengths, max_size=4)))
    header = draw(
        st.one_of(
            st.just(repr({"descr": draw(_dtypes), "fortran_order": draw(st.booleans()), "shape": shape})),
            st.sampled_from(
                [
                    "",
                    "{",
                    "{[]: 1}",
                    "{1: 2, 'a': 3}",
                    "(" * 300,
                    "[" * 3000 + "]" * 3000,
                    "{'descr': '<f8', 'fortran_order': False, 'shape': (8L,)}",
                    "{'descr': '<f8', 'fortran_order': False, 'shape': (8,)",
                    "{'descr': [('a', '<f8', (2**40,))], 'fortran_order': False, 'shape': (8,)}",
                    "{'descr': ('<f8', (9999999999,)), 'fortran_order': 0, 'shape': 8}",
                    "__import__('os').mkdir('executed')",
                    "'\\x00" + "9" * 9000,
                ]
            ),
            st.text(max_size=60),
        )
    )
    text = header.encode("utf-8", errors="replace") + b"\n"
    version = draw(st.sampled_from([b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x07"]))
    length = struct.pack("<H" if version == b"\x01\x00" else "<I", len(text) % 2**16)
    body = draw(st.sampled_from([b"", bytes(64), bytes(512), good[-512:]]))
    return b"\x93NUMPY" + version + length + text + body


def npz_of(file: str, content: Callable[[str], bytes]) -> st.SearchStrategy[Change]:
    """An .npz with other members: an array with any header, one too few, one more, a pickle, a bomb."""
    with zipfile.ZipFile(io.BytesIO(content(file))) as archive:
        good = {name: archive.read(name) for name in archive.namelist()}

    @st.composite
    def change(draw: st.DrawFn) -> Change:
        name = draw(st.sampled_from(sorted(good)))
        kind = draw(
            st.sampled_from(["header", "header", "header", "mutate", "remove", "add", "pickle", "bomb", "twice"])
        )
        made = dict(good)
        if kind == "header":
            made[name] = draw(npy(good[name]))
        elif kind == "mutate":
            made[name] = draw(mutated(good[name]))
        elif kind == "remove":
            del made[name]
        elif kind == "add":
            made[draw(st.text(max_size=10)) + draw(st.sampled_from(["", ".npy"]))] = draw(npy(good[name]))

        def write(folder: Path) -> None:
            with warnings.catch_warnings(), zipfile.ZipFile(folder / file, "w", zipfile.ZIP_DEFLATED) as archive:
                warnings.simplefilter("ignore")  # two members of a name
                for member, data in made.items():
                    archive.writestr(member.encode("utf-8", "replace").decode().replace("\0", "_") or "_", data)
                if kind == "pickle":
                    import numpy as np

                    # Written, never read here: the bait that a reader must not unpickle.
                    stream = io.BytesIO()
                    np.save(stream, np.array([Exploding(folder / "executed")], dtype=object), allow_pickle=True)
                    archive.writestr(name, stream.getvalue())
                elif kind == "bomb":
                    head = repr({"descr": "|u1", "fortran_order": False, "shape": (2**28,)}).encode() + b"\n"
                    archive.writestr(name, b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(2**24))
                elif kind == "twice":
                    archive.writestr(name, draw_nothing)

        return write

    draw_nothing = b""
    return change()


@st.composite
def hdf5_of(draw: st.DrawFn, file: str) -> Change:
    """An HDF5 file of other arrays, types, shapes, layouts and links."""
    arrays = sprites()
    key = draw(st.sampled_from(sorted(arrays)))
    kind = draw(
        st.sampled_from(["dtype", "shape", "missing", "group", "soft", "external", "storage", "virtual", "chunks"])
    )
    dtype = draw(st.sampled_from(["<f4", ">i8", "<U3", "O", "|u1", "f4,i8"]))
    shape = tuple(draw(st.lists(st.sampled_from([0, 1, 48, 64, 2**40]), max_size=4)))

    def write(folder: Path) -> None:
        import h5py
        import numpy as np

        with h5py.File(folder / file, "w") as opened:
            for name, array in arrays.items():
                path = name.replace("latents_", "latents/")
                if name != key:
                    opened.create_dataset(path, data=array)
                elif kind == "dtype":
                    type_ = h5py.string_dtype() if dtype in ("<U3", "O") else np.dtype(dtype)
                    opened.create_dataset(path, shape=array.shape, dtype=type_)
                elif kind == "shape":
                    chunks = (1,) * len(shape) if shape and all(shape) else None
                    opened.create_dataset(path, shape=shape, dtype=array.dtype, chunks=chunks)
                elif kind == "group":
                    opened.create_group(path)
                elif kind == "soft":
                    opened.create_dataset("elsewhere", data=array)
                    opened[path] = h5py.SoftLink("/elsewhere")
                elif kind == "external":
                    opened[path] = h5py.ExternalLink("/etc/hostname", "/x")
                elif kind == "storage":
                    opened.create_dataset(
                        path, shape=array.shape, dtype=array.dtype, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)]
                    )
                elif kind == "virtual":
                    layout = h5py.VirtualLayout(shape=array.shape, dtype=array.dtype)
                    layout[:] = h5py.VirtualSource("/etc/hostname", "x", shape=array.shape)
                    opened.create_virtual_dataset(path, layout)
                elif kind == "chunks":
                    big = (2**20, *array.shape[1:])
                    opened.create_dataset(
                        path,
                        shape=array.shape,
                        maxshape=(None, *array.shape[1:]),
                        dtype=array.dtype,
                        chunks=big if array.ndim == 2 else (2**15, 64, 64),
                        compression="gzip",
                    )

    return write
