"""Settings that several suites of files share, with their help."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from fedsafe.evaluation.suite_rows import Value

File = Annotated[Path, Field(description="The file; relative to where the command is run.")]
Hash = Annotated[
    str,
    Field(pattern=r"^([0-9a-fA-F]{64})?$", description="Expected sha256; empty: not checked."),
]
Limit = Annotated[int | None, Field(ge=1, description="At most so many prompts; null: all.")]
Choose = Annotated[
    Literal["first", "drawn"],
    Field(description="Which, with a limit: the first ones, or some that the seed draws."),
]
Prefill = Annotated[str, Field(description="How replies begin in the prefilled variant.")]
Skill = Annotated[str, Field(description="Skill of utility prompts, for measures by skill.")]
Encoding = Annotated[
    str, Field(description="Such as cp1252; empty: UTF-8, or UTF-16 where the file says so.")
]
Rows = dict[str, Value | list[Value]]
Columns = Annotated[
    dict[str, str], Field(description="Column by part, such as {prompt: goal}; '': none.")
]
