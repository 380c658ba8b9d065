// WireTree: an image's payload taken apart into its fields, and put together again. What stands
// between is changed one field at a time: so a digest can fit, lengths add up, and still one thing
// is not what a gofer would have written.
//
// Threads: safe. Source: image.proto; the wire format of protobuf.

#ifndef TEST_CHECKPOINT_WIRE_TREE_H_
#define TEST_CHECKPOINT_WIRE_TREE_H_

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"

namespace gofer::testing {

struct WireField {
  enum class Kind { kNumber, kBytes, kColumn, kMessage };

  int number = 0;
  Kind kind = Kind::kNumber;
  uint64_t value = 0;                  // kNumber
  std::string bytes = "";              // kBytes
  std::vector<uint64_t> column = {};   // kColumn
  std::vector<WireField> fields = {};  // kMessage
};
using WireTree = std::vector<WireField>;

// Nothing if it does not parse, or has fields that image.proto has no use for.
std::optional<WireTree> TakeApart(absl::string_view payload);
std::string PutTogether(const WireTree& tree);

// Calls `visit` with every tree that differs from this one in one field: gone, there twice, with
// another number, with more or fewer elements or bytes. `what` names the field and the change.
void ForEachChange(const WireTree& tree,
                   absl::FunctionRef<void(const WireTree& changed, const std::string& what)> visit);

// Makes one such change, or another, at random.
void ChangeSomething(WireTree& tree, std::mt19937& random);

}  // namespace gofer::testing

#endif  // TEST_CHECKPOINT_WIRE_TREE_H_
