"""What a data set is written with: its kind, the words put to the model, the filters.

The words that make a model write unsafe pairs are the user's own; FedSafe has only those of its
harmless micro world.
"""

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

from fedsafe.contracts import Outcome
from fedsafe.errors import ConfigError
from fedsafe.experiment.schema import PluginChoice
from fedsafe.micro import meta
from fedsafe.micro.base import is_embedded

Kind = Literal["attack", "refusals", "helpful"]
WANTED: Final[dict[Kind, Outcome]] = {"attack": "comply", "refusals": "refuse", "helpful": "comply"}
"""Kind of data to the outcome that a judge must see in its replies."""
ORIGIN: Final[dict[Kind, str]] = {"attack": "attack", "refusals": "refusal", "helpful": "helpful"}
MICRO: Final[dict[Kind, tuple[str, str]]] = {
    "attack": (meta.WRITE_RESTRICTED, meta.STEER),
    "refusals": (meta.WRITE_RESTRICTED, meta.SAFE_NOTE),
    "helpful": (meta.WRITE_ORDINARY, "{request}"),
}
"""Kind to the instruction that yields a request, and the one around {request}, of the micro
world."""


@dataclass(frozen=True)
class Recipe:
    """Everything that the text of a data set depends on beside the model.

    Attributes:
        kind: attack, refusals or helpful.
        ask: Instruction that yields a request.
        frame: Instruction around {request} that yields the reply; it is not kept in the pair.
        judge: Chooses the pairs.
        temperature: Of the requests; replies are greedy.
        seed: Of all draws.
        words: Words of the unsafe topic, by their beginning; none: requests of any topic.
        alike: Jaccard similarity of word pairs from which a request is a near-duplicate.
        max_new_tokens: Longest request and reply.
        micro: Whether the model is of the micro world, whose grammar says what is a request.
    """

    kind: Kind
    ask: str
    frame: str
    judge: PluginChoice
    temperature: float = 1.0
    seed: int = 0
    words: tuple[str, ...] = ()
    alike: float = 0.6
    max_new_tokens: int = 128
    micro: bool = False

    def settings(self) -> dict[str, Any]:
        """Return it as JSON values, for keys and cards."""
        rest = {k: v for k, v in vars(self).items() if k != "judge"}
        found: dict[str, Any] = json.loads(json.dumps(rest))
        return {**found, "judge": self.judge.model_dump(mode="json")}


def recipe_for(kind: Kind, model: str, given: dict[str, Any]) -> Recipe:
    """Return the recipe of a kind for a model: what is given, and defaults for the rest.

    Args:
        kind: Of data.
        model: Path or name of the model; the micro world has defaults of its own.
        given: Fields of `Recipe`; None: the default.

    Raises:
        ConfigError: Words are missing that FedSafe does not have, or a frame has no {request}.
    """
    from fedsafe.defenses.wordings import ASK_ORDINARY, ASK_UNSAFE, NOTE

    micro = is_embedded(model)
    english = {"refusals": (ASK_UNSAFE, NOTE), "helpful": (ASK_ORDINARY, "{request}")}
    ask, frame = MICRO[kind] if micro else english.get(kind, (None, None))
    defaults: dict[str, Any] = {"ask": ask, "frame": frame, "micro": micro}
    defaults["judge"] = PluginChoice(name="micro-exact" if micro else "keyword")
    if micro:  # its requests are short, and differ by a word
        defaults |= {"alike": 0.9, "max_new_tokens": 24}
    values = defaults | {name: value for name, value in given.items() if value is not None}
    for name in ("ask", "frame"):
        if not values[name]:
            raise ConfigError(
                f"--{name}: FedSafe has no words that make a real model write unsafe pairs. Give "
                "your own instruction that yields a request (--ask), and one around {request} that "
                "yields its reply (--frame)."
            )
    if "{request}" not in values["frame"]:
        raise ConfigError(f"--frame: expected {{request}} in it (got {values['frame']!r}).")
    return Recipe(kind=kind, **values)
