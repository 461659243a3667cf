"""Files in which colluders share their updates."""

import threading
from pathlib import Path

import pytest
import torch

from fedsafe.errors import RunError
from fedsafe.runs.colluder_files import ColluderFiles


def files(directory: Path, number: int = 1) -> ColluderFiles:
    return ColluderFiles(directory, "run", "main", number)


def test_waits_until_all_have_shared(tmp_path: Path) -> None:
    here = files(tmp_path)
    here.share(4, {"update": torch.ones(3)})
    late = threading.Timer(0.4, lambda: here.share(1, {"update": torch.zeros(3)}))
    late.start()
    found = here.wait([4, 1], 20, lambda: None)
    assert list(found) == [1, 4]
    assert torch.equal(found[4]["update"], torch.ones(3))


def test_names_the_colluder_that_is_missing(tmp_path: Path) -> None:
    here = files(tmp_path)
    here.share(4, {"update": torch.ones(3)})
    with pytest.raises(RunError, match=r"Colluding client 1, 7 shared no update of round 1 in"):
        here.wait([1, 4, 7], 0.01, lambda: None)


def test_rounds_do_not_mix(tmp_path: Path) -> None:
    files(tmp_path, 1).share(4, {"update": torch.ones(3)})
    assert files(tmp_path, 2).read(4) is None
    assert ColluderFiles(tmp_path, "another", "main", 1).read(4) is None


def test_old_rounds_are_removed(tmp_path: Path) -> None:
    for number in range(1, 6):
        files(tmp_path, number).share(4, {"update": torch.ones(3)})
    assert [files(tmp_path, number).read(4) is None for number in range(1, 6)] == [True] * 3 + [
        False,
        False,
    ]


def test_damaged_file_is_a_sentence(tmp_path: Path) -> None:
    here = files(tmp_path)
    here.share(4, {"update": torch.ones(3)})
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(b"no tensors")
    with pytest.raises(RunError, match="cannot be read"):
        here.read(4)


def test_abandoned_wait_ends(tmp_path: Path) -> None:
    def gone() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files(tmp_path).wait([1], 20, gone)
