"""The ServerApp: the run configuration in, a run directory out."""

from pathlib import Path

import pytest
from flwr.app import Context, RecordDict

from clients.app import app as client_app
from fedsafe.errors import ConfigError
from fedsafe.experiment.load import as_yaml
from fedsafe.experiment.schema import Experiment
from fedsafe.launch.grid import InlineGrid
from fedsafe.runs.store import Store
from server.app import app


def _run(clients: int, **config: str) -> None:
    context = Context(
        run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={**config}
    )
    app(InlineGrid(client_app, clients), context)


@pytest.fixture
def file(experiment: Experiment, tmp_path: Path) -> Path:
    path = tmp_path / "my.yaml"
    path.write_text(as_yaml(experiment), encoding="utf-8")
    return path


def test_run_goes_where_it_is_told(file: Path, tmp_path: Path) -> None:
    _run(4, experiment=str(file), output=str(tmp_path / "out"))
    summary = Store(tmp_path / "out").summary()
    assert summary is not None
    assert summary.status == "completed"


def test_run_goes_home_unless_told(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDSAFE_HOME", str(tmp_path / "home"))
    _run(4, experiment=str(file), settings="name=other;federation.rounds=1")
    (found,) = (tmp_path / "home" / "runs").iterdir()
    assert (found.name.startswith("other-"), len(Store(found).rounds())) == (True, 1)


def test_relative_output_is_a_sentence(file: Path) -> None:
    with pytest.raises(ConfigError, match="give an absolute path"):
        _run(4, experiment=str(file), output="out")


def test_relative_allow_list_is_a_sentence(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"allow is 'keys'.*give an absolute path"):
        _run(4, experiment=str(file), output=str(tmp_path / "out"), allow="keys")


def test_allow_list_that_is_not_there_is_a_sentence(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"The allow list .*none cannot be read"):
        _run(4, experiment=str(file), allow=str(tmp_path / "none"), output=str(tmp_path / "out"))


def test_wrong_setting_is_a_sentence(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"federation\.rouns"):
        _run(4, experiment=str(file), settings="federation.rouns=1", output=str(tmp_path))


def test_app_is_a_plain_assignment() -> None:
    # Flower looks for it in the source and runs nothing.
    for role in ("clients", "server"):
        text = (Path(__file__).parents[3] / role / "app.py").read_text(encoding="utf-8")
        kind = "ClientApp" if role == "clients" else "ServerApp"
        assert f"\napp = {kind}(" in text
