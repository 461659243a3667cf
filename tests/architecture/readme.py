"""The commands in README.md, as a reader would copy them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """One command of a block."""

    heading: str
    """The section that it is in."""
    words: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(self.words)


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Yield (heading, text) of every block in a language."""
    for found in BLOCK.finditer(TEXT):
        if found[1] == language:
            headings = re.findall(r"^#+ (.+)$", TEXT[: found.start()], re.MULTILINE)
            yield headings[-1], found[2]


def commands(program: str = "") -> list[Command]:
    """Return the commands of all shell blocks, comments and redirections left out."""
    found = []
    for heading, text in blocks("bash"):
        for line in text.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=";>")
            lexer.whitespace_split, lexer.commenters = True, "#"
            words: list[str] = []
            for word in [*lexer, ";"]:
                if word == ";":
                    if words:
                        found.append(Command(heading, tuple(_plain(words))))
                    words = []
                else:
                    words.append(word)
    return [one for one in found if not program or one.words[0] == program]


def _plain(words: list[str]) -> list[str]:
    """Return words up to a redirection."""
    return words[: words.index(">")] if ">" in words else words
