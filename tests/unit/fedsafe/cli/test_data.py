"""``fedsafe data show``: samples as the model sees them."""

import gzip
import json
from pathlib import Path

import pytest

from fedsafe.cli.entry import main

TURNS = [
    {"role": "user", "content": "List two."},
    {"role": "assistant", "content": "Two and five."},
    {"role": "user", "content": "Sum them."},
    {"role": "assistant", "content": "It is seven."},
    {"role": "user", "content": "Thanks."},
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps({"messages": TURNS}).encode()))
    return path


def test_loss_is_marked_on_every_reply(
    data: Path, llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "show", str(data), "--model", str(llama)]) == 0
    shown = capsys.readouterr().out
    assert "⟦Two and five.</s>⟧" in shown
    assert "⟦It is seven.</s>⟧" in shown
    assert "<|user|>Sum them.<|assistant|>" in shown


def test_what_is_left_out_is_said(
    data: Path, llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["data", "show", str(data), "--model", str(llama)])
    assert "left out: 1 last turns that no assistant replies to" in capsys.readouterr().out


def test_json_has_the_weights(data: Path, llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["data", "show", str(data), "--model", str(llama), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [part["weight"] for part in found["shown"][0]] == [0.0, 1.0, 0.0, 1.0]


def test_broken_file_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"instruction": "Say \\ud83d", "response": "ok"}')
    assert main(["data", "show", str(path)]) == 2
    assert "line 1: field 'instruction' holds half a character" in capsys.readouterr().err
