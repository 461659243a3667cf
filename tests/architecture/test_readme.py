"""What only the README says: where things are, and that joining a federation works as written."""

import re

from tests.architecture import pages

TEXT = (pages.ROOT / "README.md").read_text()


def test_layout_names_every_package() -> None:
    section = TEXT.split("## Layout")[1]
    named = re.findall(r"^(\w+)/ ", section, re.MULTILINE)
    packages = {path.parent.name for path in pages.ROOT.glob("*/__init__.py")}
    assert set(named) == packages | {"tests"}


def test_a_client_that_brings_no_data_is_not_in_it() -> None:
    """The section's experiment has the data with its clients."""
    joining = [one for one in pages.commands("fedsafe") if one.words[1] == "client"]
    assert joining
    assert all("--data" in one.words for one in joining)
