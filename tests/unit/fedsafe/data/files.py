"""Small data files, and the sentence that a broken one gives."""

import json

import pytest

from fedsafe.contracts import sources
from fedsafe.errors import DataError

ROW = {"instruction": "Name a fruit.", "response": "An apple."}


def read(name, path, seed=0, **settings):
    return sources[name].configure({"path": path, **settings})(seed)


def jsonl(tmp_path, *lines):
    path = tmp_path / "data.jsonl"
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    )
    return path


def sentence(name, path, **settings):
    """Return the one sentence of the error, less the path, which it must begin with."""
    with pytest.raises(DataError) as caught:
        read(name, path, **settings)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message.removeprefix(str(path))
