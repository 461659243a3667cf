"""Refuse addresses such as ``s3://bucket/runs`` where a directory is wanted.

A path of one would be a directory called ``s3:`` here, in which nobody looks.
"""

import re
from pathlib import Path
from typing import Final

from fedsafe.errors import ConfigError

ADDRESS: Final = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)")


def check_local(directory: Path) -> None:
    """See that a directory is a path, and no address of a storage service.

    Raises:
        ConfigError: It is an address.
    """
    if (found := ADDRESS.fullmatch(str(directory))) is None:
        return
    raise ConfigError(
        f"{found[1]}://{found[2]} is an address, and runs are kept in directories alone: they are "
        "locked, linked and resumed there. Give a directory, for several machines one on a shared "
        "file system, and copy it to the address when the runs are done."
    )
