import pytest


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in its own
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Which tests stay together where two processes share the suite: those of one file; and those of all flows, which
    share one finished run and one Prefect server."""
    for item in items:
        together = "flows" if item.path.parent.name == "flows" else item.path.name
        item.add_marker(pytest.mark.xdist_group(together))
