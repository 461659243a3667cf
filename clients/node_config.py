"""Local configuration of one client node: data, model, device, declared attack.

The supervisor writes one file a node, for its eyes only; the thin ClientApp reads it by
its path in the node configuration, and hands it on with each job. The server never
sees it.
"""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedsafe.errors import RunError
from fedsafe.experiment.schema import PluginChoice
from fedsafe.validation_errors import first_of

NODE_CONFIG = "fedsafe-site"
"""Key of the node configuration with the path of this file."""
STATE = "fedsafe-state"
"""Key with a directory (empty: none), for clients that live in the server's process."""


class NodeConfig(BaseModel):
    """One client's local settings, which the server's experiment cannot override."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    socket: Path
    """Unix socket of the resident trainer."""
    state: Path
    """Directory for what must outlast the trainer's process, 0700."""
    source: PluginChoice | None = None
    """Its own data; None: the experiment's source, which must then be one that all share."""
    model: str | None = None
    """Where the base model lies here, or its name on the hub; None: only the embedded one."""
    start_adapter: str | None = None
    """Where the adapter lies here that the federation merges into the base weights."""
    device: str | None = None
    """Device of this client; None: what the experiment says."""
    rank: Annotated[int, Field(ge=1)] | None = None
    """Rank of this client's own adapter; None: what the experiment says."""
    red_team: bool = False
    """Whether its operator started it as an attacker, for declared red teams only."""
    behaviour: PluginChoice | None = None
    """What it does as an attacker."""
    contaminated: bool = False
    """Whether its operator agrees that a declared red team puts malicious examples among its own;
    the client itself is honest."""
    generator: PluginChoice | None = None
    """Where its malicious examples come from; None: the experiment's generator."""
    collude: Path | None = None
    """Directory in which the attackers share their updates; the server never sees it."""
    collude_wait: Annotated[float, Field(gt=0)] = 300.0
    """Seconds to wait there for the other attackers of a round."""
    plugins: tuple[str, ...] = ()
    """Plug-ins by ``module:object`` path that a server's experiment may name."""
    data: str = ""
    """Keyed digest of its data: tells the server that it changed, and nothing else."""
    silence: Annotated[float, Field(gt=0)] = 60.0
    """Seconds without a sign of life after which the trainer counts as dead."""

    @classmethod
    def read(cls, path: Path) -> "NodeConfig":
        """Read a node config file.

        Raises:
            RunError: It is not there, or is no such file.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise RunError(
                f"The file {path}, which `fedsafe client` writes, cannot be read: "
                f"{error.strerror}. Start this client with `fedsafe client`."
            ) from None
        except ValidationError as error:
            raise RunError(
                f"{path} is not a node's file ({first_of(error)}). Start this client anew with "
                "`fedsafe client`."
            ) from None
