"""What all laws share: how much of the table narrow vectors walk."""

import pytest


@pytest.fixture(autouse=True)
def one_layout_on_narrow_vectors(request: pytest.FixtureRequest) -> None:
    """SSE runs each case in one layout, half of them in either: its code differs by width alone."""
    given = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    last = given.get("last", given.get("channels_last"))
    if given.get("machine") != "sse" or "case" not in given or last is None:
        return
    if bool(last) != (len(given["case"].name) % 2 == 0):
        pytest.skip("SSE: one layout of each case")
