"""Files of `torch.save` that nobody vouches for: read as tensors and plain values, or refused.

This is the one place where anything in pickle's format is read. Three things stand before it: a zip that is packed, or
claims more than it has, is refused; every pickle in the file is gone through opcode by opcode, without running it, and
may name nothing but tensors' own building blocks; and only then torch reads it, with `weights_only=True`.
"""

from __future__ import annotations

import io
import pickletools
import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from zoo.errors import ZooError, shown
from zoo.untrusted import LARGEST_ZIP_DIRECTORY, Bounded

_NUMBERS = ("Double", "Float", "Half", "BFloat16", "Bool", "Long", "Int", "Short", "Char", "Byte")

# What state dicts, optimisers' states and dicts of plain values are pickled as. torch.load would build more than
# that: a bytearray, for one, of as many bytes as the file says.
ALLOWED = frozenset(
    {
        "collections OrderedDict",
        "torch._utils _rebuild_tensor",
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_parameter",
        *(f"torch {kind}Storage" for kind in _NUMBERS),
        *(f"torch.cuda {kind}Storage" for kind in _NUMBERS),
    }
)
LARGEST_PICKLE = 2 * 2**20  # bytes; a state dict of a thousand tensors is a tenth of that

_ZIP = b"PK\x03\x04"
# Before torch 1.6: the pickles of this number, the format's version, the system, the document and the storages' names,
# one after the other, and then the storages' bytes.
_MAGIC_NUMBER = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_PICKLES = 5


def load_tensors(path: Path, file: BinaryIO, error: type[ZooError]) -> Any:
    """Return what `torch.save` was given, from the opened file that `path` names: containers, tensors, plain values.

    Raises `error`, one line, for anything else. Nothing in the file is run.
    """
    import torch

    try:
        start = file.read(len(_MAGIC_NUMBER))
        if start.startswith(_ZIP):
            _check_zip(path, file, error)
        elif start == _MAGIC_NUMBER:
            file.seek(0)
            for _ in range(_PICKLES):
                _check_pickle(file)
        else:
            raise ValueError("another format")
        file.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a foreign file makes torch say is no one's to act on
            # The one place where torch's own format is read; weights_only builds tensors and runs no code.
            return torch.load(file, map_location="cpu", weights_only=True)
    except _Forbidden as reason:
        raise error(
            f"{path} asks for {reason}, which is neither a tensor nor a plain value; nothing of it was run"
        ) from None
    except ZooError:
        raise
    except Exception:  # a damaged or hostile pickle can end in any exception at all
        raise error(f"{path} is no file of torch.save with tensors and plain values in it, or a damaged one") from None


def _check_zip(path: Path, file: BinaryIO, error: type[ZooError]) -> None:
    """Refuse what torch.save never writes: packed members, which could be a million times larger; two of a name."""
    with zipfile.ZipFile(Bounded(file, LARGEST_ZIP_DIRECTORY)) as archive:
        members = archive.infolist()
        if any(m.compress_type != zipfile.ZIP_STORED or m.file_size != m.compress_size for m in members):
            raise error(f"{path} holds compressed data, which torch.save never writes")
        if sum(member.file_size for member in members) > file.seek(0, io.SEEK_END):
            raise error(f"{path} claims more data than it has")
        if len({member.filename.lower() for member in members}) != len(members):
            raise ValueError("two members of one name")
        for member in members:
            if member.filename.lower().endswith(".pkl"):
                if member.file_size > LARGEST_PICKLE:
                    raise ValueError("a document larger than any")
                _check_pickle(io.BytesIO(archive.read(member)))


def _check_pickle(file: BinaryIO) -> None:
    """Go through one pickle. Raises _Forbidden for what it may not name, and what pickletools raises for junk."""
    first = file.tell()
    for opcode, argument, position in pickletools.genops(file):
        if position is not None and position - first > LARGEST_PICKLE:
            raise ValueError("a document larger than any")
        if opcode.name in ("GLOBAL", "INST") and argument not in ALLOWED:
            raise _Forbidden(shown(str(argument).replace(" ", "."))[1:-1])
        if opcode.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
            raise _Forbidden("something by a name that it computes")


class _Forbidden(Exception):
    """A pickle names what is no part of a tensor; the message is that name."""
