"""Every judge that needs no model and no settings, on replies of any kind."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsafe.app import activate
from fedsafe.contracts import Exchange, Prompt, Verdict, judges
from fedsafe.plugins.signatures import data_of

activate()
OUTCOMES = {"refuse", "comply", "garbage", "unknown"}
REPLIES = st.one_of(
    st.text(max_size=200),
    st.sampled_from(["", " ", "no " * 60, "I'm sorry, but I can't.", "\u2019"]),
)


def free(name):
    """Tell whether a judge can be asked as it is."""
    plugin = judges[name]
    required = [key for key, field in plugin.schema.model_fields.items() if field.is_required()]
    return not required and len(data_of(plugin.function) or ()) == 1


@pytest.mark.parametrize("name", [name for name in judges if name != "micro-exact" and free(name)])
@settings(max_examples=15)
@given(replies=st.lists(REPLIES, max_size=4), purpose=st.sampled_from(["harmful", "over-refusal"]))
def test_one_verdict_each_in_order_and_the_same_alone(name, replies, purpose):
    judge = judges[name].configure({})
    exchanges = [Exchange(Prompt(f"p{i}", "Ask.", purpose), text) for i, text in enumerate(replies)]
    found = judge(exchanges)
    assert all(isinstance(one, Verdict) and one.outcome in OUTCOMES for one in found)
    assert found == [judge([exchange])[0] for exchange in exchanges]
