"""What is made of a valid input: other bytes, other JSON, other arrays, archives and words.

Each strategy yields a change: a function that is given the folder with the valid input, and changes it.
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.exploding import Exploding
from tests.fuzz import readers
from tests.fuzz.readers import READERS, Reader

Change = Callable[[Path], Any]

# Bytes.

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


# JSON.

_DIGITS = "@@a number of a million digits@@"
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**30, 10**400, _DIGITS]),
    st.sampled_from([0.0, -0.0, 0.5, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf")]),
    st.sampled_from(
        [
            "",
            "os:system",
            "../../x",
            "/etc/passwd",
            "~nobody-there/x",
            "a\nb",
            "\x1b[31m",
            "\ud800",
            "\0",
            "$\\frac{",
            "[/x]",
            "x" * 10_000,
            "nan",
            "none",
            "true",
            "1e999",
            "9" * 5000,
        ]
    ),
    st.text(max_size=20),
    st.integers(),
    st.floats(),
)
json_values = st.one_of(
    _scalars,
    st.recursive(
        _scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=8,
    ),
    st.sampled_from([30, 90, 200, 2000]).map(lambda depth: ["nested", depth]),
)


def written(document: Any) -> bytes:
    """JSON text, as hostile as the document asks for."""
    text = json.dumps(_nested(document))
    return text.replace(json.dumps(_DIGITS), "1" * 1_000_000).encode()


def _nested(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 2 and value[0] == "nested" and isinstance(value[1], int):
        made: Any = 1
        for _ in range(min(value[1], 900)):
            made = [made]
        return made
    if isinstance(value, list):
        return [_nested(item) for item in value]
    return {key: _nested(item) for key, item in value.items()} if isinstance(value, dict) else value


@st.composite
def other_json(draw: st.DrawFn, document: Any) -> Any:
    """A document with another value, or key, somewhere in it."""
    document = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        holder, key = None, None
        value = document
        while isinstance(value, dict | list) and value and (holder is None or draw(st.booleans())):
            holder = value
            key = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
            value = value[key]
        if holder is None:
            return draw(json_values)
        kind = draw(st.sampled_from(["value", "value", "value", "remove", "add", "rename"]))
        if kind == "value":
            holder[key] = draw(json_values)
        elif kind == "remove":
            del holder[key]
        elif isinstance(holder, dict):
            name = draw(st.text(max_size=10) | st.sampled_from(["__class__", "a.b", "../x", "os:system", "x" * 3000]))
            holder[name] = holder.pop(key) if kind == "rename" else draw(json_values)
        else:
            holder.append(draw(json_values))
    return document


def json_of(reader: Reader, content: Callable[[str], bytes]) -> st.SearchStrategy[Change]:
    """Other values in the JSON (or JSON lines, or the header of a safetensors) that a reader takes."""

    def change(file: str) -> st.SearchStrategy[Change]:
        data = content(file)
        if file.endswith(".jsonl"):
            lines = [json.loads(line) for line in data.splitlines()]
            made = other_json(lines).map(
                lambda found: b"".join(
                    written(line) + b"\n" for line in (found if isinstance(found, list) else [found])
                )
            )
        elif file.endswith(".safetensors"):
            length = struct.unpack("<Q", data[:8])[0]
            header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
            made = other_json(header).map(lambda found: readers.safetensors(written(found), rest))
        else:
            made = other_json(json.loads(data)).map(written)
        return made.map(lambda text: lambda folder: (folder / file).write_bytes(text))

    files = [file for file in reader.files if file.endswith((".json", ".jsonl", ".safetensors"))]
    return st.sampled_from(files).flatmap(change)


def sealed(change: Change, *, state: bool) -> Change:
    """A change after which the checkpoint agrees with itself again."""

    def both(folder: Path) -> None:
        change(folder)
        (readers.reseal_state if state else readers.reseal)(folder)

    return both


# Arrays.

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
    arrays = readers.sprites()
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


# Archives.

_hostile_names = st.one_of(
    st.sampled_from(
        [
            "../../x.png",
            "/x.png",
            "a/../../x.png",
            "..\\x.png",
            "C:\\x.png",
            "x\0.png",
            "x\n\x1b[31m.png",
            "set/0/000.PNG",
            "set/0/000.png",
            "./set/0/000.png",
            "",
            ".png",
            "set/\udcff.png",
            "n" * 60_000 + ".png",
            "/".join("d" * 900) + "/x.png",
        ]
    ),
    st.text(max_size=12).map(lambda text: f"{text}.png"),
)
_hostile_contents = st.one_of(st.binary(max_size=64), st.just(readers.picture()), mutated(readers.picture()))


@st.composite
def zip_of(draw: st.DrawFn, file: str) -> Change:
    """A zip with members of other names, kinds, sizes and compressions."""
    members = draw(st.lists(st.tuples(_hostile_names, _hostile_contents), min_size=1, max_size=4))
    packing = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
    attributes = draw(st.sampled_from([0, 0o120777 << 16, 0o010644 << 16, 0o060644 << 16, 0o40755 << 16]))
    claims = draw(st.sampled_from([None, None, 2**31, 2**32 - 2, 0]))
    bomb = draw(st.sampled_from([0, 0, 0, 2**26]))

    def write(folder: Path) -> None:
        with warnings.catch_warnings(), zipfile.ZipFile(folder / file, "w") as archive:
            warnings.simplefilter("ignore")  # two members of a name
            for name, content in members:
                member = zipfile.ZipInfo(name.encode("utf-8", "replace").decode() or "x")
                member.external_attr, member.compress_type = attributes, packing
                archive.writestr(member, content + bytes(bomb))
            if claims is not None:
                for member in archive.filelist:
                    member.file_size = claims

    return write


@st.composite
def tar_of(draw: st.DrawFn, file: str, mode: str) -> Change:
    """A tar with members of other names, kinds, sizes and headers."""
    members = draw(st.lists(st.tuples(_hostile_names, _hostile_contents), min_size=1, max_size=4))
    kind = draw(st.sampled_from([tarfile.REGTYPE, tarfile.REGTYPE, *b"1234567LKSVxg"]))
    size = draw(st.sampled_from([None, None, None, 2**33, 2**62, -512, 1]))
    style = draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
    headers = draw(
        st.sampled_from(
            [
                {},
                {"size": "-1"},
                {"size": "9" * 400},
                {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"},
                {"GNU.sparse.size": "99999999999"},
                {"GNU.sparse.map": "0,1," * 500 + "1"},
                {"path": "../x"},
                {"path": "a\nb"},
                {"mtime": "nan"},
                {"comment": "1" * 5000},
                {"linkpath": "/etc/passwd"},
            ]
        )
    )

    def write(folder: Path) -> None:
        with tarfile.open(folder / file, mode, format=style) as archive:
            for name, content in members:
                member = tarfile.TarInfo(name.replace("\0", "_"))
                member.type = kind if isinstance(kind, bytes) else bytes([kind])
                member.size, member.linkname = len(content), "/etc/passwd"
                member.pax_headers = headers
                blocks = bytearray(member.tobuf(style, "utf-8", "surrogateescape"))
                if size is not None:
                    _set_size(blocks, size)
                archive.fileobj.write(bytes(blocks))  # type: ignore[union-attr]  # it is open
                archive.fileobj.write(content + bytes(-len(content) % 512))  # type: ignore[union-attr]  # likewise
                archive.offset += len(blocks) + len(content) + -len(content) % 512

    return write


def _set_size(blocks: bytearray, size: int) -> None:
    """Write a size, in base 256 where it is none of octal, into the last header, and its checksum anew."""
    at = len(blocks) - 512
    octal = 0 <= size < 8**11
    blocks[at + 124 : at + 136] = b"%011o\0" % size if octal else _base256(size)
    blocks[at + 148 : at + 156] = b" " * 8
    blocks[at + 148 : at + 156] = b"%06o\0 " % sum(blocks[at : at + 512])


def _base256(size: int) -> bytes:
    return (b"\xff" if size < 0 else b"\x80") + (size % 256**11).to_bytes(11, "big")


# Pickles.

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


# Words.

NAMES = [
    "ibgan",
    "gan",
    "vae",
    "dsprites",
    "celeba",
    "image_folder",
    "sap",
    "fid",
    "disentanglement_lib",
    "ibgan_authors",
]
_keys = st.sampled_from(
    [
        "steps",
        "batch_size",
        "seed",
        "loss",
        "trainer",
        "device",
        "precision",
        "eval_metrics",
        "eval_every",
        "save_every",
        "keep",
        "keep_best",
        "log_every",
        "model.ngf",
        "model.z_dim",
        "model.variant",
        "model.init",
        "model.share_front",
        "loss.beta",
        "loss.gamma",
        "trainer.lr_generator",
        "trainer.noise_steps",
        "dataset.source",
        "sap.num_train",
        "model",
        "dataset",
        "preset",
        "image_shape",
        "made_by",
        ".",
        "..",
        "a.b.c",
        "model.",
        ".ngf",
    ]
)
_typed = st.one_of(
    st.sampled_from(
        [
            "",
            "0",
            "-1",
            "1e4",
            "1e999",
            "nan",
            "none",
            "true",
            "auto",
            "9" * 5000,
            "os:system",
            "sys:exit",
            "x" * 9000,
            "[/x]",
            "a\nb",
            "\x1b[2J",
            "\udcff",
            "~nobody-there",
            "cuda:99",
            "ibgan",
            "1,2",
            "../..",
            "/dev/null",
        ]
    ),
    st.sampled_from(NAMES),
    st.text(max_size=12),
)
_words = st.tuples(_keys | st.text(max_size=8), _typed).map("=".join) | st.text(max_size=12)


@st.composite
def words(draw: st.DrawFn) -> Change:
    """What `--set` and names may be."""
    asked = {
        "model": draw(st.sampled_from(["ibgan", "ibgan", "vae", "factor_vae"]) | _typed),
        "dataset": draw(st.sampled_from(["dsprites", "dsprites", "celeba"]) | _typed),
        "preset": draw(st.none() | st.none() | _typed),
        "words": draw(st.lists(_words, max_size=4)),
    }
    return lambda folder: (folder / "words.json").write_text(json.dumps(asked))


@st.composite
def environment(draw: st.DrawFn) -> Change:
    """What the variables about plugins may be; a process's environment holds no NUL."""
    value = st.lists(_typed | st.sampled_from(["ibgan", "adapters", "*", " ", ",,"]), max_size=4).map(",".join)
    asked = {"ZOO_DISABLE_PLUGINS": draw(value).replace("\0", "").encode("utf-8", "replace").decode()}
    return lambda folder: (folder / "environment.json").write_text(json.dumps(asked))


# The command line: real commands and options, any values; what would take long is kept short by what is typed last.

_COMMANDS: dict[str, tuple[list[str], int, list[str]]] = {
    # words, how many more arguments, and what ends the line
    "list": (["list"], 1, []),
    "plugins": (["plugins"], 0, []),
    "train": (["train"], 1, ["--dry-run"]),
    "eval": (["eval"], 2, ["--metrics", "mi_bounds", "--set", "mi_bounds.num=20"]),
    "sample": (["sample"], 2, ["--num", "2"]),
    "traverse": (["traverse"], 2, ["--steps", "2"]),
    "plot": (["plot"], 1, []),
    "info": (["data", "info"], 1, []),
    "prepare": (["data", "prepare"], 0, ["image_folder"]),
    "convert dataset": (["convert", "dataset"], 0, ["celeba"]),
    "convert checkpoint": (["convert", "checkpoint"], 1, []),
    "sweep": (["sweep"], 1, ["--dry-run"]),
    "none": ([], 0, []),
}
_OPTIONS = [
    "--dataset",
    "--out",
    "--preset",
    "--config",
    "--steps",
    "--seed",
    "--set",
    "--eval-every",
    "--save-every",
    "--device",
    "--precision",
    "--resume",
    "--data-root",
    "--dry-run",
    "--json",
    "--metrics",
    "--num",
    "--images",
    "--bases",
    "--span",
    "--per-factor",
    "--to",
    "--from",
    "--help",
    "-h",
    "--version",
    "--no-plugins",
    "--keep",
    "--",
    "-",
    "--nonsense",
]
_FLAGS = ("--resume", "--dry-run", "--json", "--help", "-h", "--version", "--no-plugins", "--", "-")
_FOLDER = "@@"  # of the run
_PATHS = [
    _FOLDER,
    f"{_FOLDER}/checkpoints/step-00000002",
    f"{_FOLDER}/config.json",
    f"{_FOLDER}/none",
    "out",
    "out.png",
    "out.gif",
    "out.pdf",
    "a/../b.png",
    "",
    ".",
    "x" * 300,
    "pretrained:x",
    "/dev/null",
    "/proc/self/none",
    "bad\udcff.png",
]


@st.composite
def command(draw: st.DrawFn) -> Change:
    """A command line."""
    value = st.one_of(st.sampled_from(_PATHS), st.sampled_from(NAMES), _typed, _words)
    begin, count, end = _COMMANDS[draw(st.sampled_from(sorted(_COMMANDS)))]
    line = list(begin)
    likely = [st.sampled_from(["ibgan", "vae", "models"]), st.just(_FOLDER)]
    for position in range(count + draw(st.sampled_from([0, 0, 0, 1, -1]))):
        line.append(draw(value | likely[min(position, 1)] | likely[min(position, 1)]))
    for _ in range(draw(st.integers(0, 4))):
        option = draw(st.sampled_from(_OPTIONS))
        line += [option] if option in _FLAGS else [option, draw(value)]
    if begin == ["train"] and draw(st.booleans()):
        line += ["--dataset", draw(st.sampled_from(["dsprites", "celeba"]))]
    line += end
    # A process's words hold no NUL, and are bytes to the system.
    line = [
        word.replace("\0", "")
        .encode("utf-8", "surrogateescape" if "\udcff" in word else "replace")
        .decode("utf-8", "surrogateescape")
        for word in line
        if not _too_wild(word)
    ]

    def write(folder: Path) -> None:
        (folder / "command.json").write_text(json.dumps([word.replace(_FOLDER, str(folder)) for word in line]))

    return write


def _too_wild(word: str) -> bool:
    """What has side effects that are a person's own wish, such as importing a module that acts."""
    return ":" in word and not word.startswith(("pretrained:", "os:system", "sys:exit", "cuda:"))


def changes(reader: Reader, content: Callable[[str], bytes]) -> st.SearchStrategy[Change]:
    """Everything that is done to a reader's input."""
    name = reader.name
    if name == "words":
        return words()
    if name == "environment":
        return environment()
    if name == "command line":
        return command()
    plain = bytes_of(reader, content)
    made: list[st.SearchStrategy[Change]] = [plain, plain]
    if any(file.endswith((".json", ".jsonl", ".safetensors")) for file in reader.files):
        made = [plain, *[json_of(reader, content)] * 3]
    if name in ("checkpoint", "model", "trainer"):
        made += [s.map(lambda change: sealed(change, state=False)) for s in made]
        made += [json_of(_only(reader, readers.STATE), content).map(lambda change: sealed(change, state=True))] * 2
    if name == "dsprites npz":
        made.append(npz_of("file.npz", content))
    elif name == "fid statistics":
        made += [npz_of("stats.npz", content)] * 2
    elif name == "dsprites hdf5":
        made.append(hdf5_of("file.hdf5"))
    elif name == "zip":
        made += [zip_of("set.zip")] * 2
    elif name.startswith("tar"):
        file = reader.files[0]
        made += [tar_of(file, {".tar": "w", ".gz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}[Path(file).suffix])] * 2
    elif name in ("inception weights", "authors' checkpoint"):
        made += [st.sampled_from(reader.files).flatmap(lambda file: pickle_of(file, content(file)))] * 2
    return st.one_of(made)


def _only(reader: Reader, *files: str) -> Reader:
    return Reader(reader.name, reader.build, reader.read, files)


__all__ = ["READERS", "changes"]
