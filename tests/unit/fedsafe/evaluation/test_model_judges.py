"""Judges on small models of this test: a language model taught its verdicts, classifiers."""

from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from fedsafe.contracts import Exchange, Prompt, judges
from fedsafe.errors import ConfigError, ModelError
from fedsafe.evaluation.judges.language_model import _rendered

WORDS = ("<s>", "</s>", "<unk>", "request", "reply", "verdict", "bake", "tea", "No", "Yes")
WORDS = (*WORDS, "safe", "unsafe", "a", "cake", "here", "steps")
PROMPT = "request {request} reply {reply} verdict"
CHAT = "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}"


def exchange(reply, purpose="harmful"):
    return Exchange(Prompt(reply, "bake a cake", purpose), reply)


def tokenizer():
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<unk>", **special)


def config(**more):
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64}
    tokens = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    return LlamaConfig(vocab_size=len(WORDS), **sizes, **heads, **tokens, **more)


def saved(model, directory, chat=False):
    words = tokenizer()
    words.chat_template = CHAT if chat else None
    model.save_pretrained(directory)
    words.save_pretrained(directory)
    return str(directory)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A model that says safe of replies that begin with No, and unsafe of others."""
    torch.manual_seed(0)
    model, words = LlamaForCausalLM(config()), tokenizer()
    texts = [
        f"request bake a cake reply {reply} verdict {said} </s>"
        for reply, said in (("No tea", "safe"), ("Yes here", "unsafe"), ("here steps", "unsafe"))
    ]
    ids = [torch.tensor([words(text)["input_ids"]]) for text in texts]
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(40):
        optimizer.zero_grad()
        sum(model(input_ids=one, labels=one).loss for one in ids).backward()
        optimizer.step()
    directory = tmp_path_factory.mktemp("judge")
    (directory / "prompt.txt").write_text(PROMPT)
    return saved(model, directory / "model", chat=True), str(directory / "prompt.txt")


def ask(taught, exchanges, **settings):
    path, prompt = taught
    found = {"model": path, "prompt": prompt, "device": "cpu", **settings}
    return judges["language-model"].configure(found)(exchanges)


def test_a_language_model_s_verdicts_are_read(taught):
    found = ask(taught, [exchange("No tea"), exchange("Yes here"), exchange("here steps")])
    assert [v.outcome for v in found] == ["refuse", "comply", "comply"]


def test_a_safe_reply_to_a_harmless_prompt_is_not_known_to_refuse(taught):
    (found,) = ask(taught, [exchange("No tea", "over-refusal")])
    assert (found.outcome, found.safe) == ("unknown", True)


def test_batches_change_no_verdict(taught):
    exchanges = [exchange(reply) for reply in ("No tea", "Yes here", "here steps") * 2]
    alone = [v.outcome for v in ask(taught, exchanges, batch_size=1)]
    assert [v.outcome for v in ask(taught, exchanges, batch_size=4)] == alone


def test_what_the_parser_cannot_read_is_unknown(taught):
    (found,) = ask(taught, [exchange("No tea")], style="harmbench")
    assert (found.outcome, found.raw.strip()) == ("unknown", "safe")


def test_a_reply_that_is_too_long_is_unknown_and_the_others_are_judged(taught):
    found = ask(taught, [exchange("cake " * 70), exchange("No tea")])
    assert [v.outcome for v in found] == ["unknown", "refuse"]
    assert "its model takes 16" in found[0].raw


@pytest.mark.parametrize("style", ["md-judge", "harmbench", "strongreject"])
def test_long_prompts_of_the_styles_need_a_model_of_more_positions(taught, style):
    (found,) = ask(taught, [exchange("No tea")], style=style, prompt="")
    assert found.outcome == "unknown"


@pytest.mark.parametrize("style", ["llama-guard", "llama-guard-2", "llama-guard-3"])
def test_llama_guard_takes_its_prompt_from_the_tokenizer(taught, style):
    (found,) = ask(taught, [exchange("No tea")], style=style, prompt="")
    assert found.outcome in {"refuse", "comply", "unknown"}


def test_a_template_that_takes_parts_is_given_parts(tmp_path):
    parts = "{% for m in messages %}{% for c in m.content if c.type == 'text' %}{{ c.text }} "
    loaded = SimpleNamespace(tokenizer=tokenizer(), directory=tmp_path)
    loaded.tokenizer.chat_template = parts + "{% endfor %}{% endfor %}"
    turns = [("user", "bake a cake"), ("assistant", "here steps")]
    assert _rendered(loaded, turns, begins_reply=False) == "bake a cake here steps "


def test_a_template_that_hides_the_reply_is_refused(tmp_path):
    loaded = SimpleNamespace(tokenizer=tokenizer(), directory=tmp_path)
    loaded.tokenizer.chat_template = "{{ messages[0].content }}"
    with pytest.raises(ModelError, match="does not take a request and a reply"):
        _rendered(loaded, [("user", "bake"), ("assistant", "steps")], begins_reply=False)


def test_a_tokenizer_without_a_chat_template_is_named(tmp_path):
    path = saved(LlamaForCausalLM(config()), tmp_path)
    with pytest.raises(ModelError, match="no chat template"):
        ask((path, ""), [exchange("No tea")], style="llama-guard")


def test_a_prompt_without_the_reply_is_refused(taught, tmp_path):
    (tmp_path / "bad.txt").write_text("Is {request} good?")
    with pytest.raises(ConfigError, match=r"has no \{reply\}"):
        ask(taught, [exchange("No")], prompt=str(tmp_path / "bad.txt"))


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    torch.manual_seed(1)
    labels = {"id2label": {0: "fine", 1: "toxic"}, "label2id": {"fine": 0, "toxic": 1}}
    model = LlamaForSequenceClassification(config(**labels)).eval()
    return model, saved(model, tmp_path_factory.mktemp("classifier"))


def classify(network, exchanges, **settings):
    found = {"model": network[1], "unsafe": "toxic", "device": "cpu", **settings}
    return judges["classifier"].configure(found)(exchanges)


def test_a_classifier_s_probability_is_the_model_s(network):
    (found,) = classify(network, [exchange("Yes here")])
    batch = tokenizer()("bake a cake", "Yes here", return_tensors="pt")
    with torch.no_grad():
        logits = network[0](input_ids=batch["input_ids"]).logits[0]
    assert found.score == pytest.approx(logits.softmax(0)[1].item(), abs=1e-5)


def test_batches_change_no_probability(network):
    exchanges = [exchange(reply) for reply in ("No", "Yes here", "a cake here steps")]
    alone = [v.score for v in classify(network, exchanges, batch_size=1)]
    assert [v.score for v in classify(network, exchanges)] == pytest.approx(alone, abs=1e-5)


def test_a_classifier_whose_model_names_no_padding_takes_its_tokenizer_s(network, tmp_path):
    model = LlamaForSequenceClassification(network[0].config)
    model.config = config(id2label={0: "fine", 1: "toxic"}, label2id={"fine": 0, "toxic": 1})
    model.config.pad_token_id = None
    found = classify((model, saved(model, tmp_path)), [exchange("No"), exchange("Yes here")])
    assert len(found) == 2


def test_labels_that_are_apart_have_probabilities_of_their_own(network, tmp_path):
    apart = network[0].config.to_dict() | {"problem_type": "multi_label_classification"}
    model = LlamaForSequenceClassification(LlamaConfig(**apart)).eval()
    (found,) = classify((model, saved(model, tmp_path)), [exchange("Yes here")])
    batch = tokenizer()("bake a cake", "Yes here", return_tensors="pt")
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"]).logits[0]
    assert found.score == pytest.approx(logits[1].sigmoid().item(), abs=1e-5)


def test_a_model_that_counts_positions_from_its_padding_takes_long_replies(tmp_path):
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    more = {"num_attention_heads": 2, "max_position_embeddings": 12, "pad_token_id": 2}
    model = RobertaForSequenceClassification(RobertaConfig(vocab_size=len(WORDS), **sizes, **more))
    found = classify((model, saved(model, tmp_path)), [exchange("tea " * 30)], unsafe="1")
    assert found[0].outcome in {"refuse", "comply"}


def test_what_is_not_a_number_is_unknown(tmp_path):
    model = LlamaForSequenceClassification(config(num_labels=1))
    torch.nn.init.constant_(model.score.weight, torch.nan)
    path = saved(model, tmp_path)
    (found,) = classify((model, path), [exchange("Yes here")], unsafe="0")
    (reward,) = judges["reward"].configure({"model": path, "device": "cpu"})([exchange("Yes")])
    assert [(v.outcome, v.score) for v in (found, reward)] == [("unknown", None)] * 2


def test_a_model_without_a_trained_head_is_no_classifier(tmp_path):
    path = saved(LlamaForCausalLM(config()), tmp_path)
    with pytest.raises(ModelError, match=r"no weights for score\.weight"):
        classify((None, path), [exchange("No")], unsafe="1")


def test_a_label_that_the_classifier_lacks_is_named(network):
    with pytest.raises(ConfigError, match="fine, toxic"):
        classify(network, [exchange("No")], unsafe="evil")


def test_a_reward_is_the_model_s_output(tmp_path):
    model = LlamaForSequenceClassification(config(num_labels=1)).eval()
    path = saved(model, tmp_path)
    (found,) = judges["reward"].configure({"model": path, "device": "cpu"})([exchange("Yes here")])
    batch = tokenizer()("bake a cake", "Yes here", return_tensors="pt")
    with torch.no_grad():
        assert found.score == pytest.approx(model(**batch).logits.item(), abs=1e-5)
    assert found.outcome == "unknown"


def test_a_classifier_is_no_reward_model(network):
    with pytest.raises(ModelError, match="2 outputs"):
        judges["reward"].configure({"model": network[1], "device": "cpu"})([exchange("No")])
