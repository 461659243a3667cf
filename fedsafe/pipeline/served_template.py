"""The shield beside a defended adapter, also as a chat template where it can be one."""

from pathlib import Path

from fedsafe.contracts import ShieldChoice, shields
from fedsafe.errors import FedSafeError
from fedsafe.runs.events import Events
from fedsafe.shields.serving import save_shield
from fedsafe.shields.template import export_template
from fedsafe.training.session import Session


def keep_shield(
    adapter: Path, shield: ShieldChoice | None, session: Session, events: Events
) -> None:
    """Write a shield beside its adapter, and again as a chat template for any server.

    No template is written where the shield is no pure template, the model was not trained with its
    own chat template, or that cannot be put together with the shield, which is told.
    """
    save_shield(adapter, shield)
    if shield is None or session.spec.template.name != "chat":
        return
    if "template" not in shields[shield.name].traits:
        return
    try:
        export_template(adapter, [shield], session.loaded.tokenizer)
    except FedSafeError as error:  # the adapter is whole without it
        events("note", f"No chat template is written beside the adapter: {error}")
