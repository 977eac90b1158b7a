"""Freed memory stays with the process, where the C library allows it.

A training step allocates and frees the same hundreds of arrays of some megabytes each time. By default glibc hands
such memory back to the system as soon as it is free, and the next step pays for every page again: thousands of page
faults a step, which is a tenth to a fifth of the time of small networks on a processor, more on virtual machines.

On Linux the memory that stays is also asked to be in huge pages. In pages of 4 kB the same program can be a fifth
slower in one start than in the next, by where the system happened to put them.
"""

from __future__ import annotations

import ctypes
import sys

# mallopt's parameters, from glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_LARGEST_ARENA_BLOCK = 32 << 20  # the highest that glibc takes for blocks that come from the heap
_NEVER_TRIM = (1 << 31) - 1

_MADV_HUGEPAGE = 14  # from Linux' mman.h
_HUGE_PAGE = 2 << 20
_IN_HUGE_PAGES = 1 << 30  # bytes of addresses, not of memory: what is never used is never there


def keep_freed() -> bool:
    """Tell glibc to keep what the program frees; return whether it does. Elsewhere (musl, macOS, Windows): no effect.

    It is for a process that trains or evaluates and then ends, so commands call it and the library does not: a
    program that imports the library may want its memory back. Peak memory stays what it was, but for a few huge pages
    that are partly used.
    """
    try:
        libc = ctypes.CDLL(None)
        mallopt = libc.mallopt
    except (AttributeError, OSError, TypeError):
        return False
    settings = ((_MMAP_THRESHOLD, _LARGEST_ARENA_BLOCK), (_TRIM_THRESHOLD, _NEVER_TRIM), (_TOP_PAD, 64 << 20))
    if not all(mallopt(parameter, value) == 1 for parameter, value in settings):
        return False
    if sys.platform == "linux" and not _addresses_are_limited():
        _grow_in_huge_pages(libc)
    return True


def _addresses_are_limited() -> bool:
    """Whether somebody bounded what this process may ask for (`ulimit -v`, `-d`), used or not."""
    import resource

    limits = (resource.getrlimit(what)[0] for what in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    return any(limit != resource.RLIM_INFINITY for limit in limits)


def _grow_in_huge_pages(libc: ctypes.CDLL) -> None:
    """Let the heap grow by addresses that are given memory in huge pages, where the system has them for who asks."""
    libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.sbrk.argtypes = [ctypes.c_ssize_t]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    first = libc.sbrk(0)
    block = _LARGEST_ARENA_BLOCK - (1 << 20)  # smaller than what would be mapped apart from the heap
    blocks = [libc.malloc(block) for _ in range(_IN_HUGE_PAGES // block)]
    for pointer in blocks:
        libc.free(pointer)  # back to the heap, which stays as large
    start = -(-first // _HUGE_PAGE) * _HUGE_PAGE
    size = (libc.sbrk(0) - start) // _HUGE_PAGE * _HUGE_PAGE
    if size > 0:
        libc.madvise(start, size, _MADV_HUGEPAGE)
