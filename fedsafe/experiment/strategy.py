"""How the updates of a round are combined: filters, one rule, a server optimizer."""

from typing import Any

from fedsafe.experiment.section import Choices, PluginChoice


class Strategy(PluginChoice):
    """How updates are combined: filters, then one rule, or a Flower strategy."""

    name: str = "mean"
    """A rule's name, or ``module:object`` of a rule or of a Flower Strategy class."""
    filters: Choices = ()
    """Applied to the updates, in order, before the rule."""
    optimizer: PluginChoice | None = None
    """Server optimizer on top of the rule; None adds the update as it is."""
    per_block: bool = False
    """Apply the rule to each tensor by itself."""

    def parts(self) -> dict[str, Any]:
        """Return the arguments of `strategies.build`."""

        def written(choice: PluginChoice) -> dict[str, Any]:
            return {"name": choice.name, **choice.settings}

        return {
            "choice": written(self),
            "filters": [written(choice) for choice in self.filters],
            "optimizer": None if self.optimizer is None else written(self.optimizer),
            "per_block": self.per_block,
        }
