// Actor: one client of the soak, who does things at random in parts of a tree, and knows from a
// model what each must come to.
//
// Parts of the tree are Regions. Several actors may act in one: each operation and what the model
// makes of it are one step, so that every answer is known exactly, whoever did what came before.
// Regions of their own let actors act at the same time.
//
// Owner:   the caller; Regions and the View outlive it.
// Threads: one for each actor.

#ifndef TEST_SOAK_ACTOR_H_
#define TEST_SOAK_ACTOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "test/one_tree/view.h"
#include "test/soak/model.h"

namespace gofer::soak {

// A directory below the root of the tree, and what is in it.
struct Region {
  explicit Region(std::string name) : directory(std::move(name)) {}

  std::string At(const std::string& path) const { return directory + "/" + path; }

  const std::string directory;
  absl::Mutex mu;
  Model model ABSL_GUARDED_BY(mu);
};

// Where an actor acts.
struct Ground {
  Region* region = nullptr;
  bool read_only = false;
  unsigned weight = 1;  // how often, beside the others
};

class Actor {
 public:
  Actor(std::vector<Ground> grounds, uint64_t seed);
  Actor(const Actor&) = delete;
  Actor& operator=(const Actor&) = delete;

  // How it acts from now on.
  void Use(one_tree::View* view) { view_ = view; }
  // One operation. Says what was wrong with its answer; empty: nothing.
  std::string Step();
  // Closes what it holds and forgets what it knows. Says what went wrong.
  std::string LetGo();
  // It has died.
  void Abandon();

  uint64_t steps() const { return steps_; }
  std::mt19937_64& random() { return random_; }

 private:
  // Of one step: the region is locked.
  class Turn;
  struct Held {
    Region* region;
    Model::NodePtr node;
    std::unique_ptr<one_tree::OpenFile> file;
  };

  const Ground& PickGround();
  uint64_t Below(uint64_t bound) { return random_() % bound; }

  const std::vector<Ground> grounds_;
  std::mt19937_64 random_;
  one_tree::View* view_ = nullptr;
  std::vector<Held> held_;
  uint64_t steps_ = 0;
};

// What a view shows of a region that is not what the model says; empty: nothing.
std::string Differences(one_tree::View& view, Region& region);

}  // namespace gofer::soak

#endif  // TEST_SOAK_ACTOR_H_
