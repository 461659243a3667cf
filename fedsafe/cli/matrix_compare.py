"""``fedsafe matrix compare``: cells of a matrix with one another, paired by seed and prompt."""

from typing import Annotated

import typer

from fedsafe.cli.compare import Page, Reveal, checked_page, tell
from fedsafe.cli.matrix_options import Directory, Json, Where, labels_of
from fedsafe.errors import ConfigError


def compare(
    directory: Directory,
    sides: Annotated[
        list[str],
        typer.Argument(
            metavar="AXIS=VALUE...",
            help="Two or more sides, each AXIS=VALUE[,AXIS=VALUE]; compared with the first.",
        ),
    ],
    where: Where = None,
    stage: Annotated[
        str, typer.Option(metavar="NAME", help="final (default), attacked, defended:NAME, ...")
    ] = "final",
    output: Page = None,
    reveal: Reveal = False,
    as_json: Json = False,
) -> None:
    """Compare cells over their seeds: paired tests of every measure, flipped prompts.

    A side is every seed of one cell; what the sides have in common is said with --where.
    """
    from fedsafe.app import activate
    from fedsafe.matrix.comparing import compare_cells

    checked_page(output)
    activate()
    chosen = [_side(one) for one in sides]
    found = compare_cells(directory, chosen, labels_of(where), stage, reveal=reveal)
    tell(found, output, as_json=as_json)


def _side(text: str) -> dict[str, str]:
    """Return the labels of a side by axis.

    Raises:
        ConfigError: It is no list of AXIS=VALUE.
    """
    found = {}
    for part in text.split(","):
        axis, equals, label = part.partition("=")
        if not equals or not axis.strip() or not label.strip():
            raise ConfigError(
                f"{text!r}: write a side as AXIS=VALUE[,AXIS=VALUE], such as "
                "federation.strategy=krum."
            )
        found[axis.strip()] = label.strip()
    return found
