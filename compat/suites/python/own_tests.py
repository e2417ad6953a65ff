"""For pytest: prints a line 'PASS|FAIL|SKIP SECONDS NAME' per test, and leaves out those that are not to run."""
import os

import pytest
from checks import not_yet, wanted

protocol = os.environ["TEST_CONSUMER_GROUP_PROTOCOL"]
seconds = {}

def shown(name):
    return f"confluent-kafka-python {protocol}: {name}"

def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if wanted(shown(item.name))]
    for item in items:
        if why := not_yet(shown(item.name)):
            item.add_marker(pytest.mark.skip(reason=why))

def pytest_runtest_logreport(report):
    name = report.nodeid.split("::")[-1]
    seconds[name] = seconds.get(name, 0) + report.duration
    if report.failed:                                        # a fixture too: what a test fails at is said where it happens
        print(f"FAIL {seconds[name]:.2f} {shown(name)}: {report.when}: {' '.join(report.longreprtext.split())[-400:]}", flush=True)
    elif report.skipped:
        print(f"SKIP 0 {shown(name)}: {report.longrepr[2].removeprefix('Skipped: ')}", flush=True)
    elif report.when == "call":
        print(f"PASS {seconds[name]:.2f} {shown(name)}", flush=True)

def pytest_collectreport(report):
    if report.failed:
        print(f"FAIL 0 {shown(report.nodeid)}: {' '.join(report.longreprtext.split())[-400:]}", flush=True)
