"""Other JSON: any value in any field, and keys that come, go or change."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.mutations.change import Change
from tests.fuzz.readers import Reader
from tests.fuzz.readers.weights import safetensors

_DIGITS = "@@a number of a million digits@@"
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**30, 10**400, _DIGITS]),
    st.sampled_from([0.0, -0.0, 0.5, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf")]),
    st.sampled_from(
        [
            "",
            "os:system",
            "../../x",
            "/etc/passwd",
            "~nobody-there/x",
            "a\nb",
            "\x1b[31m",
            "\ud800",
            "\0",
            "$\\frac{",
            "[/x]",
            "x" * 10_000,
            "nan",
            "none",
            "true",
            "1e999",
            "9" * 5000,
        ]
    ),
    st.text(max_size=20),
    st.integers(),
    st.floats(),
)
json_values = st.one_of(
    _scalars,
    st.recursive(
        _scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=8,
    ),
    st.sampled_from([30, 90, 200, 2000]).map(lambda depth: ["nested", depth]),
)


def written(document: Any) -> bytes:
    """JSON text, as hostile as the document asks for."""
    text = json.dumps(_nested(document))
    return text.replace(json.dumps(_DIGITS), "1" * 1_000_000).encode()


def _nested(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 2 and value[0] == "nested" and isinstance(value[1], int):
        made: Any = 1
        for _ in range(min(value[1], 900)):
            made = [made]
        return made
    if isinstance(value, list):
        return [_nested(item) for item in value]
    return {key: _nested(item) for key, item in value.items()} if isinstance(value, dict) else value


@st.composite
def other_json(draw: st.DrawFn, document: Any) -> Any:
    """A document with another value, or key, somewhere in it."""
    document = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        holder, key = None, None
        value = document
        while isinstance(value, dict | list) and value and (holder is None or draw(st.booleans())):
            holder = value
            key = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
            value = value[key]
        if holder is None:
            return draw(json_values)
        kind = draw(st.sampled_from(["value", "value", "value", "remove", "add", "rename"]))
        if kind == "value":
            holder[key] = draw(json_values)
        elif kind == "remove":
            del holder[key]
        elif isinstance(holder, dict):
            name = draw(st.text(max_size=10) | st.sampled_from(["__class__", "a.b", "../x", "os:system", "x" * 3000]))
            holder[name] = holder.pop(key) if kind == "rename" else draw(json_values)
        else:
            holder.append(draw(json_values))
    return document


def json_of(reader: Reader, content: Callable[[str], bytes]) -> st.SearchStrategy[Change]:
    """Other values in the JSON (or JSON lines, or the header of a safetensors) that a reader takes."""

    def change(file: str) -> st.SearchStrategy[Change]:
        data = content(file)
        if file.endswith(".jsonl"):
            lines = [json.loads(line) for line in data.splitlines()]
            made = other_json(lines).map(
                lambda found: b"".join(
                    written(line) + b"\n" for line in (found if isinstance(found, list) else [found])
                )
            )
        elif file.endswith(".safetensors"):
            length = struct.unpack("<Q", data[:8])[0]
            header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
            made = other_json(header).map(lambda found: safetensors(written(found), rest))
        else:
            made = other_json(json.loads(data)).map(written)
        return made.map(lambda text: lambda folder: (folder / file).write_bytes(text))

    files = [file for file in reader.files if file.endswith((".json", ".jsonl", ".safetensors"))]
    return st.sampled_from(files).flatmap(change)
