"""What makes lines told apart: in colour, by the colour-blind, in print, and by a label beside each."""

from __future__ import annotations

from collections.abc import Sequence

# Okabe and Ito's colours ("Color Universal Design", 2008), the darkest first and yellow left out: it is lost on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# On, off, on, off ... in line widths; with seven colours and four dashes 28 lines differ, neighbours in both.
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2))


def colour(index: int) -> int:
    """The number of line `index`'s colour in COLOURS."""
    return index % len(COLOURS)


def dash(index: int) -> int:
    """The number of line `index`'s dashes in DASHES."""
    return index % len(DASHES)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move label positions apart, to at least `gap` from each other, as little as it takes, and into [low, high].

    "As little" is the least sum of squares: with a multiple of the gap taken off each, in their order, the positions
    only have to ascend, which is isotonic regression. Where there is
    no room for all, they begin at `low` and run over `high`.
    """
    from scipy.optimize import isotonic_regression

    if not wanted:
        return []
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    ascending = isotonic_regression([wanted[i] - rank * gap for rank, i in enumerate(order)]).x
    room = max(low, high - (len(wanted) - 1) * gap)
    moved = [0.0] * len(wanted)
    for rank, i in enumerate(order):
        moved[i] = min(max(float(ascending[rank]), low), room) + rank * gap
    return moved
