"""Arrays from .npz files that nobody vouches for: the header is held against what is expected before a byte is taken.

Nothing is ever unpickled, and no size in a file decides how much memory is used: the reader's own numbers do.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import IO, TYPE_CHECKING, Any

from zoo.errors import shown
from zoo.untrusted import open_member, said

if TYPE_CHECKING:
    import zipfile

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Array:
    """One array of an .npz, opened; nothing but its header is read yet."""

    key: str
    stream: IO[bytes]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool

    @property
    def size(self) -> int:
        """In bytes."""
        return prod(self.shape) * self.dtype.itemsize

    def rows(self, count: int) -> NDArray[Any]:
        """Return the next `count` rows; ValueError where the file ends before or is in Fortran order.

        Raises what zipfile does where the archive is damaged.
        """
        if self.fortran and len(self.shape) > 1:
            raise ValueError(f"{self.key} is in Fortran order; C order was expected")
        return self._numbers((count, *self.shape[1:]))

    def whole(self, largest: int) -> NDArray[Any]:
        """Return all of it; ValueError where that is more than `largest` bytes, or the file ends before."""
        if self.size > largest:
            raise ValueError(f"{self.key} is {self.dtype} {shown_shape(self.shape)}, more than {largest:,} bytes")
        return self._numbers(self.shape[::-1]).T if self.fortran else self._numbers(self.shape)

    def _numbers(self, shape: tuple[int, ...]) -> NDArray[Any]:
        import numpy as np

        size = prod(shape) * self.dtype.itemsize
        data = self.stream.read(size)
        if len(data) != size:
            raise ValueError(f"{self.key} is cut off")
        return np.frombuffer(data, self.dtype).reshape(shape)


@contextmanager
def open_array(archive: zipfile.ZipFile, key: str) -> Iterator[Array]:
    """Open the array `key` of an .npz. The caller looks at its type and shape before it reads any of it.

    Raises KeyError where it is not there, ValueError for what is no array of plain numbers or text, and what zipfile
    raises where the archive is damaged.
    """
    with open_member(archive, f"{key}.npy") as stream:
        shape, fortran, dtype = read_header(stream, key)
        if dtype.hasobject:
            raise ValueError(f"{key} is a pickle, which is never opened")
        if dtype.kind not in "biufcSU" or dtype.subdtype is not None:
            raise ValueError(f"{key} is of the type {str(dtype)[:80]}; plain numbers were expected")
        if len(shape) > 32 or any(length < 0 for length in shape):
            raise ValueError(f"{key} has the impossible shape {shown_shape(shape)}")
        yield Array(key, stream, dtype, shape, fortran)


def read_header(stream: Any, what: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read an .npy header: the shape, whether the order is Fortran's, and the dtype. ValueError for anything else."""
    import numpy as np

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a header of Python 2's, which no file here has
            version = np.lib.format.read_magic(stream)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            return read[version](stream, max_header_size=10_000)
    except KeyError:
        raise ValueError(f"{what} is an .npy of the unknown version {version}") from None
    except Exception as reason:  # the header is Python text that NumPy parses, and fails in any way
        raise ValueError(f"{what} has no .npy header ({said(reason)[:80]})") from None


def shown_shape(shape: tuple[int, ...]) -> str:
    """Return a shape for a message, short however long it is."""
    text = ", ".join(shown(length, 20) for length in shape[:6])
    return f"({text}, ...)" if len(shape) > 6 else f"({text},)" if len(shape) == 1 else f"({text})"
