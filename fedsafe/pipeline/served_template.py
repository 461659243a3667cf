"""The chat template beside a defended adapter whose shield can be one."""

from pathlib import Path

from fedsafe.contracts import ShieldChoice, shields
from fedsafe.errors import FedSafeError
from fedsafe.runs.events import Events
from fedsafe.shields.template import export_template
from fedsafe.training.session import Session


def write_template(
    adapter: Path, shield: ShieldChoice | None, session: Session, events: Events
) -> None:
    """Write a shield as a chat template beside its adapter, for servers that are not FedSafe.

    Nothing is written where the shield is no pure template, the model was not trained with its
    own chat template, or that cannot be put together with the shield, which is told.
    """
    if shield is None or session.spec.template.name != "chat":
        return
    if "template" not in shields[shield.name].traits:
        return
    try:
        export_template(adapter, [shield], session.loaded.tokenizer)
    except FedSafeError as error:  # the adapter is whole without it
        events("note", f"No chat template is written beside the adapter: {error}")
