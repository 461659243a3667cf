"""A real Hugging Face directory, real instructions, nf4: the adapter loads without FedSafe."""

import json
from pathlib import Path

import pytest
import torch

from fedsafe.experiment.load import validate
from fedsafe.launch import inline

INSTRUCTIONS = (
    Path(__file__).parents[3] / "shared" / "data" / "instructions" / "instruction-data.json"
)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama with a tokenizer trained on the instructions, saved as anyone saves one."""
    if not INSTRUCTIONS.is_file():
        pytest.skip(f"{INSTRUCTIONS} is not here")
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    directory = tmp_path_factory.mktemp("llama")
    rows = json.loads(INSTRUCTIONS.read_text())
    bpe = ByteLevelBPETokenizer()
    texts = [text for row in rows for text in row.values()]
    bpe.train_from_iterator(texts, vocab_size=1024, special_tokens=["<s>", "</s>", "<pad>"])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def trained(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four clients and two rounds on it, the base in nf4."""
    directory = tmp_path_factory.mktemp("runs") / "real"
    experiment = validate(
        {
            "name": "real",
            "model": {"path": str(llama), "quantization": "nf4"},
            "adapter": {"rank": 4, "alpha": 8, "targets": ["q_proj", "v_proj"]},
            "data": {
                "source": {"name": "json", "path": str(INSTRUCTIONS)},
                "template": "alpaca",
                "partition": "iid",
                "max_length": 192,
                "examples_per_client": 40,
            },
            "training": {"steps": 3, "batch_size": 4, "learning_rate": 0.01},
            "federation": {"clients": 4, "rounds": 2, "strategy": {"name": "median"}},
            "evaluation": {
                "suites": {"name": "micro", "harmful": 2, "over_refusal": 2,
                           "old_skills": 2, "new_skill": 2},
                "judge": {"name": "keyword"},
                "max_new_tokens": 8,
                "probe_every": 0,
            },
        }
    )  # fmt: skip
    inline.run(experiment, directory)
    return directory


def test_loss_goes_down(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "rounds.jsonl").read_text().splitlines()]
    first, last = (sum(c["loss"] for c in line["clients"]) for line in lines)
    assert last < first


def test_adapter_loads_with_plain_peft(trained: Path, llama: Path) -> None:
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(llama), str(trained / "adapter")
    )
    own = dict(model.named_parameters())
    saved = load_file(trained / "adapter" / "adapter_model.safetensors")
    assert saved
    for name, tensor in saved.items():
        loaded = own[name.replace(".weight", ".default.weight")]
        assert torch.equal(loaded, tensor)


def test_adapter_changes_what_the_model_says(trained: Path, llama: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    ids = torch.arange(3, 20)[None]
    base = AutoModelForCausalLM.from_pretrained(llama)
    before = base(ids).logits
    after = PeftModel.from_pretrained(base, str(trained / "adapter"))(ids).logits
    assert not torch.allclose(before, after, atol=1e-3)
