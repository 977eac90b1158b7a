"""Print each dependency at the lowest version that pyproject.toml allows, as constraints for pip."""

import re
import tomllib
from pathlib import Path


def lowest(pyproject: Path) -> list[str]:
    """`["click==8.2", ...]` of the project, its extras and what builds it; each says `name>=version` and no more."""
    read = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    extras = read["project"]["optional-dependencies"]
    declared = [*read["build-system"]["requires"], *read["project"]["dependencies"]]
    declared += [requirement for extra in extras.values() for requirement in extra]
    pairs = [re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement) for requirement in declared]
    assert all(pairs), declared
    return sorted({f"{pair[1]}=={pair[2]}" for pair in pairs if pair})


if __name__ == "__main__":
    print(*lowest(Path(__file__).parents[1] / "pyproject.toml"), sep="\n")  # noqa: T201
