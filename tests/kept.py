"""Results of a long command, kept as JSON lines, so that the same command goes on with the rest."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Kept:
    """Results by the whole description of their case; another description is another case."""

    def __init__(self, path: Path | None) -> None:
        """Read what a file has; None: nothing is kept."""
        self._path = path
        self._found: dict[str, Any] = {}
        if path is not None and path.is_file():
            for line in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
                self._found[_key(line["case"])] = line["found"]

    def result(self, case: Mapping[str, Any], measure: Callable[[], Any]) -> Any:
        """Return the result of a case, measured and added to the file if it is not there.

        Args:
            case: All that the result depends on, as JSON values.
            measure: Returns the result, as JSON values.
        """
        key = _key(case)
        if key not in self._found:
            self._found[key] = measure()
            if self._path is not None:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"case": case, "found": self._found[key]}) + "\n")
        return self._found[key]


def _key(case: Mapping[str, Any]) -> str:
    return json.dumps(case, sort_keys=True)
