"""Post-hoc defenses: repairs of the aggregated adapter on the server.

Importing this registers them. Knows nothing of clients or rounds.
"""

from fedsafe.defenses import antidote as antidote
from fedsafe.defenses import circuit_breakers as circuit_breakers
from fedsafe.defenses import constrained_fine_tuning as constrained_fine_tuning
from fedsafe.defenses import derta as derta
from fedsafe.defenses import fine_tune as fine_tune
from fedsafe.defenses import fine_tune_data as fine_tune_data
from fedsafe.defenses import lora_fusion as lora_fusion
from fedsafe.defenses import lox as lox
from fedsafe.defenses import one_shot as one_shot
from fedsafe.defenses import purple_teaming as purple_teaming
from fedsafe.defenses import resta as resta
from fedsafe.defenses import safe_lora as safe_lora
from fedsafe.defenses import safe_patching as safe_patching
from fedsafe.defenses import secret_alignment as secret_alignment
from fedsafe.defenses import self_refined as self_refined
