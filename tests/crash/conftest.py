"""Says at the end of a test run how many different contents of files were examined, by scenario."""

import pytest

PROPERTY = "crash states"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    examined: dict[str, int] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            states = dict(report.user_properties).get(PROPERTY)
            if states is not None:
                examined[report.nodeid.rpartition("[")[2].rstrip("]")] = states
    if examined:
        terminalreporter.section("contents of files examined after a crash")
        for name, states in examined.items():
            terminalreporter.write_line(f"{states:8}  {name}")
        terminalreporter.write_line(f"{sum(examined.values()):8}  in all")
