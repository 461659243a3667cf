"""Where the Flower app lies, and that no other package of the same name is taken for it."""

import subprocess
import sys
from pathlib import Path

from fedsafe.app import ROLES, activate, app_dir


def test_app_of_a_checkout_is_the_checkout() -> None:
    assert all((app_dir() / role / "__init__.py").is_file() for role in ROLES)


def test_activate_returns_the_app() -> None:
    assert activate() == app_dir()


def test_foreign_package_of_the_same_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "__init__.py").touch()
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import server\n"
        "from fedsafe.app import activate\n"
        "activate()"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert "another installed package shadows it" in found.stderr


def test_app_wins_over_a_package_later_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "__init__.py").touch()
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from fedsafe.app import activate\n"
        "activate(); import server; print(server.__file__)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert Path(found.stdout.strip()).parent.parent == app_dir()


def test_aggregate_is_offered_by_the_package() -> None:
    import numpy as np

    import fedsafe

    found = fedsafe.aggregate("mean", np.ones((3, 2), np.float32))
    assert found.update.tolist() == [1.0, 1.0]


def test_unknown_name_of_the_package_is_an_attribute_error() -> None:
    import fedsafe

    assert not hasattr(fedsafe, "agregate")
