"""What one request may cost: tools and betas are counted before anything is made of them."""

from __future__ import annotations

import pytest

from adapters.errors import Unsupported
from adapters.tools import MOST_TOOLS
from tests.adapters.contract import asked, call_for, speakers
from tests.adapters.inbound import FUNCTION

TRANSLATORS = {name: each for name, each in speakers().items() if each.adapter.fidelity and name != "huggingface"}


@pytest.mark.parametrize("protocol", TRANSLATORS)
def test_more_tools_than_anybody_has_are_refused(protocol: str) -> None:
    tools = [{"type": "function", "function": {**FUNCTION, "name": f"f{number}"}} for number in range(MOST_TOOLS + 1)]
    speaker = TRANSLATORS[protocol]
    with pytest.raises(Unsupported) as refused:
        speaker.adapter.request(call_for(asked(tools=tools)), speaker.target_of())
    assert refused.value.param == "tools"
    assert speaker.adapter.request(call_for(asked(tools=tools[:-1])), speaker.target_of()).body


def test_betas_are_counted() -> None:
    speaker = TRANSLATORS["anthropic"]
    with pytest.raises(Unsupported, match="at most 32"):
        speaker.adapter.request(call_for(asked(betas=[f"b-{number}" for number in range(33)])), speaker.target_of())
