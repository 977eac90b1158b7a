"""Where data lives: `--data-root`, else `$ZOO_DATA`, else the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

from zoo.errors import UsageError
from zoo.untrusted import user_path

VARIABLE = "ZOO_DATA"


def data_root(explicit: Path | None = None) -> Path:
    """Return the folder that datasets are looked for and prepared in; it need not exist yet.

    `explicit` is what `--data-root` gave. An empty `$ZOO_DATA` counts as unset.
    """
    if explicit is not None:
        return user_path(explicit, UsageError)
    if named := os.environ.get(VARIABLE):
        return user_path(named)
    import platformdirs

    return platformdirs.user_cache_path("ibgan-plugin") / "zoo"
