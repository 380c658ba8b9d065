#include "gofer/sys/fault.h"

#include <utility>

namespace gofer::sys {
namespace {

FaultHook& Hook() {
  static auto* const hook = new FaultHook;
  return *hook;
}

}  // namespace

void SetFaultHook(FaultHook hook) { Hook() = std::move(hook); }

namespace internal {

int NextFault(const char* name) { return Hook() ? Hook()(name) : 0; }

}  // namespace internal
}  // namespace gofer::sys
