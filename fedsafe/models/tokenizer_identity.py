"""The fingerprint of a tokenizer: what it does with text, whatever files it came in.

Knows nothing of models.
"""

import hashlib
import json
from typing import Any, Final

PROBE: Final = (
    "Hello, World!  It's 42,000.5 \u2212 7%\n\n\tdef f(x): return x  # na\u00efve caf\u00e9 "
    "\ufb01ne \u65e5\u672c\u8a9e \U0001f642 <s> </s> [INST] <|user|>\r\n "
)
"""Text with what tokenizers differ in: spaces, case, numbers, accents, marks, special tokens."""
SPECIAL: Final = ("bos_token", "eos_token", "pad_token", "unk_token")
DECODING: Final = ("clean_up_tokenization_spaces", "split_special_tokens", "legacy")


def tokenizer_digest(tokenizer: Any) -> str:
    """Return the sha256 over a tokenizer's serialized form, chat template and special tokens.

    A tokenizer without a serialized form is taken by its vocabulary and by what it makes
    of a fixed text; what that text gives is part of the digest for every tokenizer.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        form = _without_defaults(json.loads(backend.to_str()))
        form.pop("padding", None)  # of the last call
        form.pop("truncation", None)
    else:
        form = sorted(tokenizer.get_vocab().items())
    added = tokenizer.added_tokens_decoder.items()
    plain = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
    whole = {
        "form": form,
        "template": tokenizer.chat_template,
        "special": {name: _text(getattr(tokenizer, name, None)) for name in SPECIAL},
        "added": sorted((number, token.content, token.special) for number, token in added),
        "decoding": {name: getattr(tokenizer, name, None) for name in DECODING},
        "ids": [plain, tokenizer(PROBE)["input_ids"]],
        "text": tokenizer.decode(plain),
    }
    dumped = json.dumps(whole, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(dumped.encode()).hexdigest()


def _text(token: object) -> str | None:
    return None if token is None else str(token)


def _without_defaults(value: Any) -> Any:
    """Leave out what is null, false or empty: newer libraries write more such fields."""
    if isinstance(value, dict):
        kept = {name: _without_defaults(one) for name, one in value.items()}
        return {name: one for name, one in kept.items() if one not in (None, False, [], {}, "")}
    return value
