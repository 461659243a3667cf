"""Check a report page: tags close, nothing loads, its own script alone runs, no value lacks."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "link", "br", "img"}


class Checker(HTMLParser):
    """Checks that tags close in order, and collects what could load or run anything."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.dangerous: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script" and attributes:
            self.dangerous.append("script with attributes")
        if tag in {"iframe", "object", "embed", "img", "form", "base"}:
            self.dangerous.append(tag)
        for name, value in attributes:
            if name.startswith("on") or name == "style":
                self.dangerous.append(f"{tag} {name}")
            if name in {"src", "href"} and not (value or "").startswith(("#", "data:,")):
                self.dangerous.append(f"{tag} {name}={value}")
            if name == "id":
                self.ids.append(value or "")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert checker.dangerous == []
    (script,) = re.findall(r"<script[^>]*>(.*?)</script>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert len(checker.ids) == len(set(checker.ids))
    assert "http://" not in text
    assert "https://" not in text
    assert "None" not in re.sub(r"<pre.*?</pre>", "", text, flags=re.S).replace("None:", "")
    assert not re.search(r"\bnan\b", text)
    return text


def rewrite(path: Path, change: dict[str, object]) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
