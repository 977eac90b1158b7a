"""In the place of the worker: one with a reader that fills 1.5 GiB, the valid input's included."""

import sys
from dataclasses import replace
from pathlib import Path

from tests.fuzz.readers import READERS
from tests.fuzz.worker import main


def fill(_: Path) -> bytes:
    return b"x" * (3 << 29)


if __name__ == "__main__":
    READERS["owner"] = replace(READERS["owner"], read=fill)
    main(Path(sys.argv[1]))
