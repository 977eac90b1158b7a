"""A pickle that would run something: what is written where nothing may be unpickled."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


class Exploding:
    """Unpickling this makes the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)
