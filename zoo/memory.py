"""Freed memory stays with the process, where the C library allows it.

A training step allocates and frees the same hundreds of arrays of some megabytes each time. By default glibc hands
such memory back to the system as soon as it is free, and the next step pays for every page again: thousands of page
faults a step, which is a tenth to a fifth of the time of small networks on a processor, more on virtual machines.
"""

from __future__ import annotations

import ctypes

# mallopt's parameters, from glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_LARGEST_ARENA_BLOCK = 32 << 20  # the highest that glibc takes for blocks that come from the heap
_NEVER_TRIM = (1 << 31) - 1


def keep_freed() -> bool:
    """Tell glibc to keep what the program frees; return whether it does. Elsewhere (musl, macOS, Windows): no effect.

    It is for a process that trains or evaluates and then ends, so commands call it and the library does not: a
    program that imports the library may want its memory back. Peak memory stays what it was.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    settings = ((_MMAP_THRESHOLD, _LARGEST_ARENA_BLOCK), (_TRIM_THRESHOLD, _NEVER_TRIM), (_TOP_PAD, 64 << 20))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
