#!/usr/bin/env python3
"""Reads what the suites print (lines 'PASS|FAIL|SKIP SECONDS NAME', go test -json, cargo test) and prints it as lines
'RESULT SECONDS NAME', ending with 'N passed, N failed, N skipped'. Exits 1 after a failure, or when no check ran at all."""
import json
import re
import sys
import time

counts = {"PASS": 0, "FAIL": 0, "SKIP": 0}
CARGO = {"ok": "PASS", "FAILED": "FAIL", "ignored": "SKIP"}


def say(result, seconds, name):
    counts[result] += 1
    print(f"{result} {float(seconds):8.2f} {name}", flush=True)


def note(text):
    print("    |", text, flush=True)


class Go:
    """The events of go test -json: subtests count with their parent; a package that does not build is a failure."""

    def __init__(self):
        self.output = {}

    def event(self, e):
        test, action = e.get("Test", ""), e["Action"]
        top = test.split("/")[0]
        if action in ("output", "build-output") and not e["Output"].startswith("==="):
            self.output.setdefault(top, []).append(e["Output"].rstrip("\n"))
        elif action in ("pass", "fail", "skip") and test and test == top:
            say(action.upper(), e["Elapsed"], test)
            text = self.output.pop(top, [])
            if action != "pass":
                for line in text[-20:]:
                    note(line)
        elif action == "fail" and not test:
            unfinished = [name for name in self.output if name]
            for name in unfinished:                        # a panic or the time limit ends the package amid its tests
                say("FAIL", 0, f"{name}: the test program ended")
            if unfinished or not counts["FAIL"]:
                say("FAIL", 0, "package " + e.get("Package", ""))
                for line in self.output.get("", [])[-20:]:
                    note(line)
            self.output.clear()


go, last, binary = Go(), time.time(), ""
for line in sys.stdin:
    now, line = time.time(), line.rstrip("\n")
    if line.startswith("{"):
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if isinstance(event, dict) and "Action" in event:
            go.event(event)
            continue
    if m := re.match(r"(PASS|FAIL|SKIP) +([\d.]+) +(.*)", line):
        say(*m.groups())
    elif m := re.match(r"\s+Running .*?(\S+?)-[0-9a-f]+\)?$", line):
        binary, last = m.group(1).split("/")[-1] + "::", now
    elif m := re.match(r"test (\S+)(?: - should panic)? \.\.\. .*?(ok|FAILED|ignored)\b", line):
        say(CARGO[m.group(2)], now - last, binary + m.group(1))
        last = now
    elif line.startswith("#"):
        last = now
        print(line, flush=True)
    elif line.strip():
        note(line)

print(f"{counts['PASS']} passed, {counts['FAIL']} failed, {counts['SKIP']} skipped")
sys.exit(bool(counts["FAIL"]) or not sum(counts.values()))
