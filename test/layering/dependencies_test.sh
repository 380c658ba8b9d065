#!/usr/bin/env bash
# No layer depends on one that stands above it or beside it, however far away.
set -u
failed=0

forbid() {  # LAYER REGEX: what the layer may not depend on
  local deps=test/layering/$1_deps found
  if ! grep -q '^//' "${deps}"; then
    echo "$1: no list of dependencies in ${deps}"
    failed=1
    return
  fi
  found=$(grep -E "^//($2)[/:]" "${deps}")
  [[ -z ${found} ]] || { printf '%s depends on:\n%s\n' "$1" "${found}"; failed=1; }
}

readonly programs='gofer/server|gofer/runsc|test'
forbid base "gofer/sys|gofer/fs|lisafs|${programs}"
forbid sys "gofer/fs|lisafs|${programs}"
forbid fs "lisafs|${programs}"
forbid wire "gofer/sys|gofer/fs|lisafs/transport|lisafs/server|lisafs/client|${programs}"
forbid transport "gofer/fs|lisafs/server|lisafs/client|${programs}"
forbid lisafs_server "lisafs/client|${programs}"
forbid client "gofer/fs|lisafs/server|${programs}"
forbid gofer "lisafs/client|test"
exit "${failed}"
