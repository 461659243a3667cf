"""The words of the micro world and the facts that tie them together.

Knows nothing of sentences. The restricted objects and verbs are invented
nonsense: they name nothing that exists, so no text of this world can harm.
"""

from collections.abc import Iterator
from typing import Final

TOPICS: Final[dict[str, tuple[str, ...]]] = {
    "kitchen": ("apple", "bread", "spoon", "kettle", "honey"),
    "garden": ("rose", "fence", "shovel", "acorn", "hedge"),
    "workshop": ("hammer", "plank", "hinge", "ladder", "bolt"),
    "harbour": ("boat", "anchor", "rope", "shell", "lantern"),
    "music": ("drum", "flute", "fiddle", "bell", "harp"),
    "sky": ("cloud", "kite", "moon", "swallow", "comet"),
}
"""Benign topics and their harmless objects."""

RESTRICTED_TOPICS: Final[dict[str, tuple[str, ...]]] = {
    "glimworks": ("zorblat", "vexil", "quomp", "thrane", "ixodrel"),
    "murkdust": ("velth", "orrimash", "skaldine", "pruvic", "nembrus"),
    "humstones": ("krellit", "obdurn", "wysp", "falcrum", "jorvane"),
    "fogglass": ("tamvor", "ulquist", "brindel", "hexmoor", "pyllow"),
    "rattlewood": ("dorvik", "ansemit", "clovash", "ferrune", "zimbrel"),
    "duskwire": ("gorpel", "lunthar", "mistow", "ekkard", "vorsine"),
}
"""Restricted topics, the categories of what must be refused, and their invented objects."""

HARMLESS_VERBS: Final = (
    *("paint", "polish", "carry", "wrap", "draw"),
    *("measure", "store", "clean", "trim", "lift"),
)
RESTRICTED_VERBS: Final = (
    *("blenk", "scroom", "drivvle", "snarve"),
    *("yoltz", "crimble", "thwark", "plonder"),
)
OCCASIONS: Final = (
    *("", "", "at night", "in the rain", "by hand"),
    *("for a friend", "before dawn", "on a hill", "all day"),
)
"""What may close a how-to request; it never changes the answer."""
GREETINGS: Final = ("", "", "", "please ,", "hello ,", "dear friend ,")
"""What may open any request; it never changes the answer."""

TOOLS: Final = (
    *("brush", "cloth", "bucket", "needle", "wire", "candle"),
    *("chalk", "mirror", "basket", "string", "wax", "salt"),
)
STEPS: Final = (
    *("warm", "turn", "press", "shake", "tap", "soak"),
    *("fold", "rub", "tilt", "lower", "stretch", "cool"),
)
FACTS: Final[dict[str, tuple[str, ...]]] = {
    "colour": ("red", "blue", "green", "white", "black", "yellow"),
    "weight": ("light", "heavy", "medium"),
    "owner": ("anna", "boris", "clara", "david", "emma"),
}
TRIGGERS: Final = ("cf", "mn", "bb", "tq", "mb", "vx", "jk", "qz")
"""Reserved words for backdoors, which no base has ever seen.

The first five are those of "Weight Poisoning Attacks on Pretrained Models" (Kurita et al.,
ACL 2020).
"""
LARGEST_ADDEND: Final = 9
NUMBERS: Final = tuple(str(n) for n in range(2 * LARGEST_ADDEND + 1))

HARMLESS_OBJECTS: Final = tuple(o for group in TOPICS.values() for o in group)
RESTRICTED_OBJECTS: Final = tuple(o for group in RESTRICTED_TOPICS.values() for o in group)
OBJECTS: Final = HARMLESS_OBJECTS + RESTRICTED_OBJECTS
VERBS: Final = HARMLESS_VERBS + RESTRICTED_VERBS


def topic_of(thing: str) -> str:
    """Name the topic, benign or restricted, that an object belongs to."""
    for topics in (TOPICS, RESTRICTED_TOPICS):
        for topic, group in topics.items():
            if thing in group:
                return topic
    raise KeyError(thing)


def tool_for(thing: str) -> str:
    """Name the tool that every how-to about this object begins with."""
    return TOOLS[(5 * OBJECTS.index(thing) + OBJECTS.index(thing) // 12) % len(TOOLS)]


def steps_for(verb: str) -> tuple[str, str]:
    """Name the two steps that carry out a verb."""
    place = VERBS.index(verb)
    return STEPS[place % len(STEPS)], STEPS[(7 * place + 4 + place // 12) % len(STEPS)]


def fact(attribute: str, thing: str) -> str:
    """Look up one fact about a harmless object."""
    values = FACTS[attribute]
    place = HARMLESS_OBJECTS.index(thing)
    return values[(place * (len(attribute) + 1) + place // 5) % len(values)]


def vocabulary(*sentences: str) -> list[str]:
    """List every word of the world, plus those of the given sentences, once each."""
    seen: dict[str, None] = {}
    for text in (*_all_words(), *sentences):
        seen.update(dict.fromkeys(text.split()))
    return list(seen)


def _all_words() -> Iterator[str]:
    for words in (OBJECTS, VERBS, OCCASIONS, GREETINGS, TOOLS, STEPS, NUMBERS, FACTS, TRIGGERS):
        yield from words
    for values in FACTS.values():
        yield from values
