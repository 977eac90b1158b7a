"""Pages of `zoo report`, taken apart again."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

SMALL = {"images": 4, "steps": 5, "device": "cpu"}
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Element:
    """One element of a page: its name, its attributes, its children, and all the text in it."""

    def __init__(self, name: str, attributes: dict[str, str | None]) -> None:
        self.name, self.attributes, self.children = name, attributes, []
        self.texts: list[str] = []

    @property
    def text(self) -> str:
        return " ".join(" ".join(part if isinstance(part, str) else part.text for part in self.texts).split())

    def all(self, name: str, class_: str | None = None) -> list[Element]:
        found = []
        for child in self.children:
            if child.name == name and (class_ is None or class_ in (child.attributes.get("class") or "").split()):
                found.append(child)
            found += child.all(name, class_)
        return found

    def one(self, name: str, class_: str | None = None) -> Element:
        (found,) = self.all(name, class_)
        return found


class Page(HTMLParser):
    """A strict reader: what is opened is closed, in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]
        self.feed(path.read_text("utf-8"))
        assert self.open == [self.root], [element.name for element in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        assert len(element.attributes) == len(attrs), f"an attribute twice in {tag}"
        self.open[-1].children.append(element)
        self.open[-1].texts.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].name == tag, f"</{tag}> closes <{self.open[-1].name}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].texts.append(data)

    def section(self, id_: str) -> Element:
        (found,) = (section for section in self.root.all("section") if section.attributes.get("id") == id_)
        return found


def picture(image: Element) -> np.ndarray:
    """The pixels of an <img>."""
    start, content = image.attributes["src"].split(",", 1)
    assert start == "data:image/webp;base64"
    opened = Image.open(io.BytesIO(base64.b64decode(content)))
    assert (str(opened.width), str(opened.height)) == (image.attributes["width"], image.attributes["height"])
    return np.asarray(opened.convert("RGBA"))


def rows_of(table: Element) -> list[list[str]]:
    return [[cell.text for cell in row.children] for row in table.all("tr")]
