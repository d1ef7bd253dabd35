"""What Cabin's own devices say of themselves: people's requests find them."""

from cabinos.kernel.plugins import load_drivers
from cabinos.kernel.retrieval import select
from cabinos.kernel.syscall import model_tools
from tests.kernel.test_retrieval import PAIRS


def test_requests_find_the_devices() -> None:
    tools = [tool for driver in load_drivers({}) for tool in driver.tools]
    tools += [tool for tool in model_tools().values() if tool.name != "escalate"]
    names = {tool.name for tool in tools}
    pairs = [(name, request) for name, request in PAIRS if name in names]
    assert len(pairs) >= 100
    shown = {request: [t.name for t in select(tools, request, 4)] for _, request in pairs}
    missed = [(name, request, shown[request]) for name, request in pairs]
    missed = [one for one in missed if one[0] not in one[2]]
    assert len(missed) <= 0.04 * len(pairs), missed
