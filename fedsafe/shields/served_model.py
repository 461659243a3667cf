"""Write what a server needs: shields as a chat template, alone or in a whole merged model."""

import json
from collections.abc import Sequence
from pathlib import Path

from fedsafe.contracts import ShieldChoice
from fedsafe.errors import ConfigError, ModelError
from fedsafe.experiment.schema import Model
from fedsafe.models import adapters
from fedsafe.models.base import load
from fedsafe.models.files import load_tokenizer, locate
from fedsafe.runs.files import whole_directory
from fedsafe.shields.serving import load_shield
from fedsafe.shields.template import export_template


def export_beside(adapter: Path, model: str | None, chosen: Sequence[ShieldChoice]) -> Path:
    """Write the shields of an adapter as ``chat_template.jinja`` beside it.

    Args:
        adapter: Directory of a PEFT adapter.
        model: Its base model; None: the one that the adapter names.
        chosen: Further shields.

    Raises:
        ConfigError: There is no shield to export.
        ModelError: The base model's tokenizer cannot be read, or takes no shields.
        PluginError: A shield is no pure template.
    """
    base = locate(Model(path=model or base_of(adapter)))
    return export_template(adapter, _shields(adapter, chosen), load_tokenizer(base))


def export_merged(
    adapter: Path, model: str | None, chosen: Sequence[ShieldChoice], directory: Path
) -> Path:
    """Write base model and adapter, merged, with tokenizer and template: for any server.

    Args:
        adapter: Directory of a PEFT adapter.
        model: Its base model, unquantized; None: the one that the adapter names.
        chosen: Further shields.
        directory: Where to; it must not be there or be empty.

    Raises:
        ConfigError: The directory is not empty.
        ModelError: Model or adapter cannot be read, or do not belong together.
        PluginError: A shield is no pure template.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(f"{directory} is there already. Give another directory with -o.")
    spec = Model(path=model or base_of(adapter), device="cpu")
    home = locate(spec)
    tokenizer = load_tokenizer(home)
    shields = _shields(adapter, chosen, needed=False)
    tensors = adapters.load(adapter)
    loaded = load(spec.model_copy(update={"dtype": _type(home)}), adapters.spec_of(adapter))
    adapters.write(loaded.model, tensors)
    with whole_directory(directory) as aside:
        loaded.model.merge_and_unload().save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        if shields:
            export_template(aside, shields, tokenizer)
    return directory


def base_of(adapter: Path) -> str:
    """Return the base model that an adapter names.

    Raises:
        ModelError: It names none, or is no adapter.
    """
    path = adapter / "adapter_config.json"
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        name = None
    if not isinstance(name, str) or not name:
        raise ModelError(f"{path} is not there, or names no base model. Give it with --model.")
    return name


def _shields(
    adapter: Path, chosen: Sequence[ShieldChoice], *, needed: bool = True
) -> list[ShieldChoice]:
    own = load_shield(adapter)
    found = [*chosen, *([] if own is None else [own])]
    if needed and not found:
        raise ConfigError(
            f"{adapter} has no shield beside it, and none is given, so its template is the base "
            "model's own. Give one with --shield."
        )
    return found


def _type(home: Path) -> str:
    """Return the type of a model's weights as they are on disk."""
    config = json.loads((home / "config.json").read_text(encoding="utf-8"))
    found = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    return found if found in {"float32", "bfloat16", "float16"} else "float32"
