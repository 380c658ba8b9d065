#!/usr/bin/env bash
# Runs the check of system_calls_test on a library that makes system calls: it must find them.
set -euo pipefail
check=$1
shift
if output=$("${check}" "$@"); then
  echo "FAIL: nothing was found in $*"
  exit 1
fi
grep -q ' sendmsg' <<<"${output}" || { echo "FAIL: another finding than expected: ${output}"; exit 1; }
echo "found what it should: ${output}"
