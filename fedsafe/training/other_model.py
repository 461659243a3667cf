"""A second model beside the resident one, refused where it does not fit into memory."""

from dataclasses import replace
from pathlib import Path

from fedsafe.errors import ModelError
from fedsafe.lazy import torch
from fedsafe.micro.base import is_embedded, model_directory
from fedsafe.models import adapters
from fedsafe.models.compute import compute_of, rough_parameters
from fedsafe.models.device_memory import free_bytes
from fedsafe.models.memory import MARGIN, gib, weight_bytes
from fedsafe.models.model_size import read_config, shape_of
from fedsafe.training.session import Session, open_session
from fedsafe.training.session_spec import SessionSpec


def open_other(spec: SessionSpec, path: Path, device: "torch.device") -> Session:
    """Load another model with the template and limits of a session.

    Args:
        spec: Of the resident session.
        path: A model directory, with a config.json and, if it has one, an adapter beside it; an
            adapter directory, whose base is then the resident session's; or the name of an
            embedded model.
        device: Where it is to lie.

    Raises:
        ModelError: It cannot be read, or does not fit into memory beside the resident model.
    """
    if is_embedded(str(path)):
        path = model_directory(str(path))
    has_adapter = (path / "adapter_config.json").is_file()
    model = spec.model
    if (path / "config.json").is_file():
        model = model.model_copy(update={"path": str(path), "revision": None})
        _see_that_it_fits(replace(spec, model=model), path, device)
    elif not has_adapter:
        raise ModelError(
            f"{path} holds no model: it has neither a config.json nor an adapter_config.json."
        )
    adapter = adapters.spec_of(path) if has_adapter else spec.adapter
    threads = torch.get_num_threads()
    try:
        session = open_session(replace(spec, model=model, adapter=adapter), trains=False)
    finally:
        torch.set_num_threads(threads)  # the resident model's
    session.put(adapters.load(path) if has_adapter else session.start(0))
    return session


def _see_that_it_fits(spec: SessionSpec, path: Path, device: "torch.device") -> None:
    config = read_config(path)
    shape = shape_of(config, spec.adapter, path)
    size = compute_of(spec.model, device, rough_parameters(config)).dtype.itemsize
    needed = int(weight_bytes(shape, spec.model.quantization, size) * (1 + MARGIN))
    free = free_bytes(device)
    if free is not None and needed > free:
        raise ModelError(
            f"The model in {path} does not fit on {device} beside the one that is loaded: it "
            f"needs about {gib(needed)}, and {gib(free)} are free."
        )
