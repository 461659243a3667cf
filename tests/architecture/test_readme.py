"""The README's words hold: its library example runs, its tree is the tree."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text()


def test_library_example_runs() -> None:
    section = TEXT.split("### Rules as a library")[1]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert code is not None
    names: dict[str, object] = {}
    exec(code[1], names)
    assert tuple(names["found"].update.shape) == (1000,)  # type: ignore[attr-defined]


def test_layout_names_every_package() -> None:
    section = TEXT.split("## Layout")[1]
    named = re.findall(r"^(\w+)/ ", section, re.MULTILINE)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert set(named) == packages | {"tests"}


def test_experiment_example_is_valid(tmp_path: Path) -> None:
    from fedsafe.experiment import load

    section = TEXT.split("### An experiment")[1]
    code = re.search(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert code is not None
    file = tmp_path / "my.yaml"
    file.write_text(code[1])
    assert load(file).federation.strategy.name == "multi-krum"
