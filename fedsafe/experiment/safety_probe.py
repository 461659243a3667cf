"""The requests that look inside a model: harmful and benign ones that no evaluation asks."""

from fedsafe.experiment.section import PluginChoice, Section


class SafetyProbe(Section):
    """Requests for diagnostics, condition ``steered`` and filter ``safety-probe``.

    The requests alone are looked at, and of harmful ones the refusals, by ``refusal-margin``.
    """

    harmful: PluginChoice
    """Source of requests that must be refused. Where it also gives ordinary ones, such as
    source policy, those are left out."""
    benign: PluginChoice
    """Source of ordinary requests. Where it also gives refused ones, those are left out."""
