"""The judges that a defense may choose its data with: any but the evaluation's own.

A defense that filters by the yardstick which it is measured with would be measured by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedsafe.contracts import Exchange, ModelContext, Verdict
from fedsafe.errors import RunError
from fedsafe.evaluation.judging import judge
from fedsafe.experiment.filter_checks import default_filter, is_same_judge
from fedsafe.experiment.schema import PluginChoice


@dataclass(frozen=True)
class DefenseFilter:
    """Judges exchanges for a defense.

    Attributes:
        context: The model under repair, for judges that read with a model.
        evaluation: The evaluation's judge.
    """

    context: ModelContext
    evaluation: PluginChoice

    @property
    def default(self) -> str:
        """The judge that a defense filters with unless told otherwise."""
        return default_filter(self.evaluation)

    def __call__(
        self, exchanges: Sequence[Exchange], name: str = "", /, **settings: Any
    ) -> list[Verdict]:
        """Return a judge's verdicts.

        Raises:
            RunError: It is the evaluation's own judge, with the same settings.
        """
        choice = PluginChoice.model_validate({"name": name or self.default, **settings})
        if is_same_judge(choice, self.evaluation):
            raise RunError(
                f"The defense filters its data with '{choice.name}', the evaluation's own judge. "
                "Filter with another one, or evaluate with another evaluation.judge."
            )
        return judge(choice, exchanges, self.context)
