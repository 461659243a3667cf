"""Near-duplicates within a set of texts, and overlap between two.

Knows nothing of what the texts are for.
"""

import re
import unicodedata


def normalise(text: str) -> str:
    """Return a text without case, accents' spellings, marks or spacing: what equality means."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    return " ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)*", plain))
