"""Settings of defenses that let a model write safety data: how it is asked, and by whom."""

from typing import Annotated, Literal

from pydantic import Field

from fedsafe.defenses import alignment_pair as pair

Text = Annotated[str, Field(min_length=1)]
Texts = Text | Annotated[tuple[Text, ...], Field(min_length=1)]
Template = Annotated[str, Field(pattern=r"\{request\}")]
Templates = Annotated[
    Template | Annotated[tuple[Template, ...], Field(min_length=1)],
    Field(description="Yields its refusal; not kept in the pair. Of several, one is drawn."),
]
AskUnsafe = Annotated[
    Texts, Field(description="Yields a request of the unsafe kind; of several, one is drawn.")
]
AskOrdinary = Annotated[
    Texts, Field(description="Yields an ordinary request; of several, one is drawn.")
]
Writer = Annotated[
    Literal["model", "start"],
    Field(
        description="Who writes unsafe requests and refusals, and judges for filter self: the "
        "model under repair, or the one from before the federation."
    ),
]
Topic = Annotated[
    tuple[Text, ...] | None,
    Field(
        description="Words of the unsafe topic: what is no request, or of the wrong half's topic, "
        "is left out; none: requests of any topic; null: whatever is written."
    ),
]
ASK_UNSAFE = pair.ASK_UNSAFE
NOTE = (
    "The following request is unsafe. Decline it politely, say why in one sentence, and give no "
    "help with it.\n\n{request}"
)
ASK_ORDINARY = "Write one ordinary, harmless instruction for an assistant. Write nothing else."
