"""Data sources: the micro world, the user's own file, the hub, each client.

Knows nothing of templates, tokens or clients.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Annotated

from pydantic import Field

import fedsafe.data.policy_sources  # noqa: F401 - registers
from fedsafe.contracts import Sample, sources
from fedsafe.data import micro_sources
from fedsafe.data.columns import AUTO, Mapped
from fedsafe.data.loaded import samples_of
from fedsafe.data.reading import read_csv, read_hub, read_json, read_jsonl, read_parquet
from fedsafe.data.tables import read_table
from fedsafe.errors import DataError

__all__ = [
    "any_file",
    "client",
    "csv_file",
    "fingerprint",
    "hub",
    "json_file",
    "jsonl_file",
    "micro_sources",
    "parquet_file",
]

Instruction = Annotated[str, Field(description="Field of the instruction; auto recognises it.")]
Response = Annotated[str, Field(description="Field of the response; auto recognises it.")]
Input = Annotated[
    str | None, Field(description="Field of further text; null: none; auto recognises it.")
]
Topic = Annotated[str | None, Field(description="Field of the topic; null: none.")]
Limit = Annotated[int | None, Field(ge=1, description="At most so many; null: all.")]
Shuffle = Annotated[bool, Field(description="Draw the order first, so that limit is a sample.")]
SkipEmpty = Annotated[bool, Field(description="Leave rows without instruction or response out.")]
File = Annotated[Path, Field(description="The file; relative to where the command is run.")]
Encoding = Annotated[
    str, Field(description="Such as cp1252; empty: UTF-8, or UTF-16 where the file says so.")
]


@sources("file")
def any_file(
    seed: int,
    /,
    *,
    path: File,
    key: Annotated[str, Field(description="Key of the list, if a JSON file is an object.")] = "",
    delimiter: Annotated[str, Field(description="Of CSV; empty: the header tells.")] = "",
    instruction: Instruction = AUTO,
    response: Response = AUTO,
    input: Input = AUTO,
    topic: Topic = AUTO,
    encoding: Encoding = "",
    limit: Limit = None,
    shuffle: Shuffle = False,
    skip_empty: SkipEmpty = False,
) -> list[Sample]:
    """Read a file whose name says its form: CSV, TSV, JSON, JSONL or parquet, compressed or plain.

    Raises:
        DataError: The file cannot be used; the message names file, line and field.
    """
    rows = read_table(path, encoding=encoding, key=key, delimiter=delimiter)
    wanted = Mapped(instruction, response, input, topic)
    return samples_of(rows, wanted, seed, limit, shuffle, skip_empty)


@sources("json")
def json_file(
    seed: int,
    /,
    *,
    path: File,
    key: Annotated[str, Field(description="Key that holds the list, if the file is an object.")] = (
        ""
    ),
    instruction: Instruction = AUTO,
    response: Response = AUTO,
    input: Input = AUTO,
    topic: Topic = AUTO,
    encoding: Encoding = "",
    limit: Limit = None,
    shuffle: Shuffle = False,
    skip_empty: SkipEmpty = False,
) -> list[Sample]:
    """Read a JSON list of objects.

    Raises:
        DataError: The file cannot be used; the message names file, row and field.
    """
    wanted = Mapped(instruction, response, input, topic)
    return samples_of(
        read_json(path, key, encoding=encoding), wanted, seed, limit, shuffle, skip_empty
    )


@sources("jsonl")
def jsonl_file(
    seed: int,
    /,
    *,
    path: File,
    instruction: Instruction = AUTO,
    response: Response = AUTO,
    input: Input = AUTO,
    topic: Topic = AUTO,
    encoding: Encoding = "",
    limit: Limit = None,
    shuffle: Shuffle = False,
    skip_empty: SkipEmpty = False,
) -> list[Sample]:
    """Read a file with one JSON object a line.

    Raises:
        DataError: The file cannot be used; the message names file, line and field.
    """
    wanted = Mapped(instruction, response, input, topic)
    return samples_of(read_jsonl(path, encoding=encoding), wanted, seed, limit, shuffle, skip_empty)


@sources("csv")
def csv_file(
    seed: int,
    /,
    *,
    path: File,
    delimiter: Annotated[str, Field(description="Empty: a tab in .tsv files, else a comma.")] = "",
    instruction: Instruction = AUTO,
    response: Response = AUTO,
    input: Input = AUTO,
    topic: Topic = AUTO,
    encoding: Encoding = "",
    limit: Limit = None,
    shuffle: Shuffle = False,
    skip_empty: SkipEmpty = False,
) -> list[Sample]:
    """Read a CSV file with a header.

    Raises:
        DataError: The file cannot be used; the message names file, line and field.
    """
    wanted = Mapped(instruction, response, input, topic)
    return samples_of(
        read_csv(path, delimiter, encoding=encoding), wanted, seed, limit, shuffle, skip_empty
    )


@sources("parquet")
def parquet_file(
    seed: int,
    /,
    *,
    path: File,
    instruction: Instruction = AUTO,
    response: Response = AUTO,
    input: Input = AUTO,
    topic: Topic = AUTO,
    limit: Limit = None,
    shuffle: Shuffle = False,
    skip_empty: SkipEmpty = False,
) -> list[Sample]:
    """Read a parquet file.

    Raises:
        DataError: The file cannot be used; the message names file, row and field.
    """
    wanted = Mapped(instruction, response, input, topic)
    return samples_of(read_parquet(path), wanted, seed, limit, shuffle, skip_empty)


@sources("hub")
def hub(
    seed: int,
    /,
    *,
    path: Annotated[str, Field(min_length=1, description="Name of the data set: owner/name.")],
    subset: Annotated[str | None, Field(description="Configuration of the data set.")] = None,
    split: Annotated[str, Field(description="Such as train, or train[:1000].")] = "train",
    revision: Annotated[str | None, Field(description="Commit or tag.")] = None,
    instruction: Instruction = AUTO,
    response: Response = AUTO,
    input: Input = AUTO,
    topic: Topic = AUTO,
    limit: Limit = None,
    shuffle: Shuffle = False,
    skip_empty: SkipEmpty = False,
) -> list[Sample]:
    """Read a data set of the Hugging Face hub, running no code of it.

    Raises:
        DataError: It cannot be loaded or used; the message names data set, row and field.
    """
    wanted = Mapped(instruction, response, input, topic)
    return samples_of(
        read_hub(path, subset, split, revision), wanted, seed, limit, shuffle, skip_empty
    )


@sources("client")
def client(seed: int, /) -> list[Sample]:
    """Stand for the data that each client of a deployment brings itself; it cannot be read.

    Raises:
        DataError: Always: this client, or this runtime, has no data of its own.
    """
    raise DataError(
        "data.source is 'client': each client brings its own examples, and none are given here. "
        "Start each client with `fedsafe client --data FILE`, or name another data.source to run "
        "on one machine."
    )


def fingerprint(found: Sequence[Sample]) -> str:
    """Return the sha256 of the examples, their order included."""
    digest = hashlib.sha256()
    for example in found:
        fields = list(astuple(example))
        while len(fields) > 5 and not fields[-1]:  # so that plain samples keep their hash
            fields.pop()
        digest.update(json.dumps(fields).encode() + b"\n")
    return digest.hexdigest()
