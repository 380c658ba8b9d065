#!/usr/bin/env bash
# Holds each layer's transitive dependencies, as Bazel knows them, against what the layer must never reach.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

failures=0
# forbid LAYER REGEX WHY
forbid() {
  local found
  if found=$(grep -E "$2" "$1_deps"); then
    echo "FAIL: $1 must not depend on what matches $2 ($3):"
    sed 's/^/  /' <<<"${found}"
    failures=$((failures + 1))
  fi
}
# A list that is empty would forbid nothing.
for list in *_deps; do
  [[ $(grep -c '^//' "${list}") -gt 0 ]] || { echo "FAIL: ${list} names no target"; failures=$((failures + 1)); }
done

ours='^//(gofer|lisafs|fuse|vhost|checkpoint)'
forbid base "^//(gofer/(sys|stats|fs|server|runsc|virtiofsd)|lisafs|fuse|vhost|checkpoint)" "base depends on abseil only"
forbid base "^@(com_github_google_glog|com_google_protobuf|com_github_gflags)" "base depends on abseil only"
forbid sys "^//(gofer/(stats|fs|server|runsc|virtiofsd)|lisafs|fuse|vhost|checkpoint)" "sys knows base alone"
forbid stats "^//(gofer/(fs|server|runsc|virtiofsd)|lisafs|fuse|vhost|checkpoint)" "counters do not know what they count"
forbid fs "^//(gofer/(server|runsc|virtiofsd)|lisafs|fuse|vhost|checkpoint)" "the core knows no wire and no front end"
forbid lisafs_wire "^//(gofer/(sys|fs|server|runsc|virtiofsd)|lisafs/(transport|server|client)|fuse|vhost|checkpoint)" \
  "wire knows bytes alone"
forbid lisafs_transport "^//(gofer/(fs|server|runsc|virtiofsd)|lisafs/(server|client)|fuse|vhost|checkpoint)" \
  "transport does not know what a request means"
forbid lisafs_server "^//(gofer/(server|runsc|virtiofsd)|lisafs/client|fuse|vhost|checkpoint)" \
  "a front end knows neither the others nor the composition root"
forbid lisafs_client "^//(gofer/(fs|server|runsc|virtiofsd)|lisafs/server|fuse|vhost|checkpoint)" \
  "the client is the other end: it shares bytes and nothing else"
forbid fuse_wire "^//(gofer/(sys|fs|server|runsc|virtiofsd)|fuse/(session|dev)|lisafs|vhost|checkpoint)" "wire knows bytes alone"
forbid fuse_session "^//(gofer/(server|runsc|virtiofsd)|fuse/dev|lisafs|vhost|checkpoint)" \
  "a session knows neither its transports nor the composition root"
forbid fuse_dev "^//(gofer/(server|runsc|virtiofsd)|lisafs|vhost|checkpoint)" "a transport of the session knows no other"
forbid vhost_rings "^//(gofer/(fs|server|runsc|virtiofsd)|lisafs|fuse|vhost/(user|virtio_fs|driver)|checkpoint)" \
  "rings do not know what a request says, nor who set them up"
forbid vhost_user "^//(gofer/(fs|server|runsc|virtiofsd)|lisafs|fuse|vhost/(virtio_fs|driver)|checkpoint)" \
  "the protocol knows a device by its interface"
forbid vhost_driver "^//(gofer/(fs|server|runsc|virtiofsd)|fuse/(session|dev)|lisafs|checkpoint)" \
  "the far side shares bytes and nothing else"
forbid vhost_driver "^//vhost/(virtio_fs|user:(backend|connection|device)|virtqueue:(virt_queue|split_ring))" \
  "the far side shares bytes and nothing else"
forbid gofer "^//(lisafs/client|vhost/driver|test|tools)" "what ships contains no peer and no test"
grep -qE "${ours}" lisafs_server_deps || { echo "FAIL: the labels have another form than expected"; failures=$((failures + 1)); }

[[ ${failures} -eq 0 ]] && echo "every layer keeps to what it may know"
exit $((failures > 0))
