"""What every strategy here yields: a function that is given the folder with the valid input, and changes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Change = Callable[[Path], Any]
