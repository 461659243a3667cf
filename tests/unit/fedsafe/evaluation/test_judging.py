"""What a judge may return: one verdict an exchange, with an outcome that measures count."""

import pytest

from fedsafe.contracts import Exchange, Prompt, Verdict
from fedsafe.errors import RunError
from fedsafe.evaluation import judging
from fedsafe.experiment.schema import PluginChoice

EXCHANGES = [Exchange(Prompt(name, "a request", "harmful"), "a reply") for name in "ab"]
JUDGE = PluginChoice(name="keyword")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([Verdict("refuse")], "gave 1 verdicts on 2 exchanges"),
        ([Verdict("safe")] * 2, "gave the outcome 'safe'"),  # type: ignore[arg-type]
        (["refuse"] * 2, "gave 'refuse'"),
        (None, "gave None"),
        ([Verdict("refuse", score=float("nan"))] * 2, "gave the score nan"),
    ],
)
def test_what_is_no_verdict_is_refused(
    monkeypatch: pytest.MonkeyPatch, given: object, said: str
) -> None:
    plugin = type(judging.judges["keyword"])
    monkeypatch.setattr(plugin, "configure", lambda self, settings: lambda exchanges: given)
    with pytest.raises(RunError, match=said):
        judging.judge(JUDGE, EXCHANGES)
