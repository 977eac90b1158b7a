"""What small runs are trained on, and what they logged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

IMAGES = "zoo.testing:tiny_images"


def log(run: Path) -> list[dict[str, Any]]:
    """The log, but for the rates."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(line.pop("steps_per_second") > 0 for line in lines)
    return lines
