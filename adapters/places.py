"""Where a user's own files are looked for: the data root, and disentanglement_lib's data folder."""

from __future__ import annotations

import os
from pathlib import Path

from zoo.untrusted import user_path

DISENTANGLEMENT_LIB = "DISENTANGLEMENT_LIB_DATA"


def search_roots(root: Path) -> list[Path]:
    """Return the data root and, where `$DISENTANGLEMENT_LIB_DATA` names one, disentanglement_lib's."""
    theirs = os.environ.get(DISENTANGLEMENT_LIB)
    return [root, user_path(theirs)] if theirs else [root]
