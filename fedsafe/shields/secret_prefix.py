"""A secret text before every prompt, as the provider of a defended model puts it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from fedsafe.contracts import Complete, Sample, shields


@shields(
    "secret-prefix",
    paper="Wang et al. 2024, BackdoorAlign: Mitigating Fine-tuning based Jailbreak Attack "
    "with Backdoor Enhanced Safety Alignment",
    traits={"template"},
)
def secret_prefix(
    complete: Complete,
    samples: Sequence[Sample],
    prefills: Sequence[str],
    /,
    *,
    secret: Annotated[SecretStr, Field(min_length=1, description="The text; kept secret.")],
    where: Annotated[
        Literal["system", "instruction"],
        Field(
            description="system: before the sample's system prompt; instruction: before the "
            "instruction, after which comes a space."
        ),
    ] = "system",
    separator: Annotated[
        str, Field(description="Between the text and the sample's system prompt.")
    ] = "\n",
    decoy: Annotated[
        SecretStr | None,
        Field(description="Another such text, never trained on, for condition wrong-secret."),
    ] = None,
) -> list[str]:
    """Put a secret text before every prompt.

    The model must have been trained to be safe where that text stands. The decoy is not used
    here: the evaluation puts it in the secret's place.
    """
    text = secret.get_secret_value()
    if where == "system":
        asked = [
            replace(sample, system=f"{text}{separator}{sample.system}" if sample.system else text)
            for sample in samples
        ]
    else:
        asked = [replace(sample, instruction=f"{text} {sample.instruction}") for sample in samples]
    return complete(asked, prefills)
