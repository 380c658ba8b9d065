#!/usr/bin/env python3
"""Counts test cases from Bazel's build events and prints the end of each failed test's log.

Usage: test_results.py EVENTS.json [--skips-fail] [--label=TEXT]

A GoogleTest program counts as its cases, any other test as one, and a test that did not build or
did not end as one failure. Prints what failed, then one line "passed failed skipped".
"""

import json
import sys
import urllib.parse
import xml.etree.ElementTree

LOG_TAIL_LINES = 60


def local_path(uri):
    return urllib.parse.unquote(urllib.parse.urlparse(uri).path)


def cases(xml_path):
    """The cases of one test.xml as (name, outcome); none when it is not GoogleTest's."""
    try:
        root = xml.etree.ElementTree.parse(xml_path).getroot()
    except (OSError, xml.etree.ElementTree.ParseError):
        return []
    # Bazel writes a test.xml of its own, with one case, for programs that write none.
    if root.get("tests") is None or root.get("timestamp") is None:
        return []
    found = []
    for case in root.iter("testcase"):
        if case.get("status") == "notrun":
            continue
        name = "%s.%s" % (case.get("classname"), case.get("name"))
        if case.find("failure") is not None:
            found.append((name, "failed"))
        elif case.get("result") == "skipped" or case.find("skipped") is not None:
            found.append((name, "skipped"))
        else:
            found.append((name, "passed"))
    return found


def main():
    skips_fail = "--skips-fail" in sys.argv[2:]
    label_prefix = "".join(a[len("--label="):] for a in sys.argv[2:] if a.startswith("--label="))
    results, not_built = {}, set()
    with open(sys.argv[1], encoding="utf-8") as events:
        for line in events:
            event = json.loads(line)
            if "testResult" in event:
                # One per attempt, run and shard; the last attempt of each decides.
                key = event["id"]["testResult"]
                part = (key["label"], key.get("run", 1), key.get("shard", 1))
                results[part] = event["testResult"]
            elif "testSummary" in event:
                status = event["testSummary"].get("overallStatus", "NO_STATUS")
                if status in ("NO_STATUS", "FAILED_TO_BUILD", "BLAZE_HALTED_BEFORE_TESTING"):
                    not_built.add(event["id"]["testSummary"]["label"])
            elif "completed" in event and not event["completed"].get("success"):
                not_built.add(event["id"]["targetCompleted"]["label"])

    count = {"passed": 0, "failed": 0, "skipped": 0}
    for label in sorted(not_built - {part[0] for part in results}):
        print("%s%s: FAILED TO BUILD" % (label_prefix, label))
        count["failed"] += 1
    for (label, _, _), result in sorted(results.items(), key=lambda item: item[0]):
        files = {f["name"]: local_path(f["uri"]) for f in result.get("testActionOutput", [])}
        passed = result.get("status") in ("PASSED", "FLAKY")
        ran = cases(files.get("test.xml", ""))
        bad = [(name, outcome) for name, outcome in ran
               if outcome == "failed" or (outcome == "skipped" and skips_fail)]
        if not ran:
            ran = [(label, "passed" if passed else "failed")]
        elif not passed and not bad:
            # It crashed, leaked or ran out of time after its cases had passed.
            ran.append((label, "failed"))
        for _, outcome in ran:
            count["failed" if outcome == "skipped" and skips_fail else outcome] += 1
        for name, outcome in bad:
            print("%s%s: %s %s" % (label_prefix, label, name, outcome))
        if not passed:
            print("%s%s: %s; the end of its log:" % (label_prefix, label, result.get("status")))
            try:
                with open(files["test.log"], encoding="utf-8", errors="replace") as log:
                    for line in log.readlines()[-LOG_TAIL_LINES:]:
                        print("    " + line.rstrip("\n"))
            except (OSError, KeyError):
                print("    (it has no log)")
    print(count["passed"], count["failed"], count["skipped"])


if __name__ == "__main__":
    main()
