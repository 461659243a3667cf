"""README.md and docs/: what each page's code blocks say, and the files that it has readers save.

docs/writing-pages.md tells those who write pages what is read here.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
MARK = re.compile(r"<!--\s*(needs|save|not)\s*:?\s*(.+?)\s*-->")
SAVED = re.compile(r"\b[Ss]ave\b[^.]*?\bas `([^`\s]+)`")
ENDS = {";", "|", "||", "&", "&&"}
"""Words between two commands of a line."""


@dataclass(frozen=True)
class Block:
    """One code block of a page."""

    page: Path
    heading: str
    """The section that it is in."""
    line: int
    language: str
    text: str
    needs: str = ""
    """What a machine that runs tests lacks: a GPU, the network, a file of the reader's."""
    saved: str = ""
    """The file that readers save it as."""
    other: str = ""
    """What it is instead of an experiment."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One command of a shell block."""

    block: Block
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.block}:{shlex.join(self.words)}"

    def values(self, *options: str) -> list[str]:
        """Return what is given to an option, in order."""
        pairs = zip(self.words, self.words[1:], strict=False)
        return [value for name, value in pairs if name in options]


def pages() -> list[Path]:
    """Return every page."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@cache
def parse(page: Path) -> tuple[Block, ...]:
    """Return a page's code blocks in order."""
    found, heading, marks, before = [], "", {}, ""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            heading = tokens[index + 1].content
        elif token.type == "html_block":
            marks.update(dict(MARK.findall(token.content)))
        elif token.type == "inline":
            before = token.content
        elif token.type == "fence":
            named = SAVED.findall(before)
            saved = marks.get("save") or (named[-1] if named else "")
            line = (token.map or [0])[0] + 1
            language = token.info.strip()
            found.append(Block(page, heading, line, language, token.content,
                               marks.get("needs", ""), saved, marks.get("not", "")))  # fmt: skip
            marks, before = {}, ""
    return tuple(found)


def blocks(language: str) -> list[Block]:
    """Return every page's blocks in a language."""
    return [one for page in pages() for one in parse(page) if one.language == language]


def commands(program: str = "") -> list[Command]:
    """Return the commands of all shell blocks, comments and redirections left out."""
    found = [one for block in blocks("bash") for one in _commands(block)]
    return [one for one in found if not program or one.words[0] == program]


def _commands(block: Block) -> Iterator[Command]:
    for line in block.text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&><")
        lexer.whitespace_split, lexer.commenters = True, "#"
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word in ENDS:
                if plain := _plain(words):
                    yield Command(block, tuple(plain))
                words = []
            else:
                words.append(word)


def _plain(words: list[str]) -> list[str]:
    """Return words without variables in front of them, up to a redirection."""
    first = next((n for n, word in enumerate(words) if not re.match(r"[A-Z_]+=", word)), len(words))
    words = words[first:]
    if words[:3] == ["python", "-m", "fedsafe"]:
        words = words[2:]
    ends = [
        n for n, word in enumerate(words) if set(word) & set("<>") and set(word) <= set("<>&12")
    ]
    return words[: ends[0]] if ends else words


def save(page: Path, directory: Path) -> list[str]:
    """Write the files that a page has its readers save, and return their names."""
    found = [one for one in parse(page) if one.saved]
    for one in found:
        target = directory / one.saved
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(one.text, encoding="utf-8")
    return [one.saved for one in found]
