// A program of somebody else on one of our hooks, as the dataplane describes it to its callers. Plain data.
#pragma once

#include <cstdint>
#include <string>

#include "base/strings.h"

namespace weft::agent {

// A program of somebody else on a hook that Weft uses.
struct Rival {
  enum class Effect : uint8_t {
    kShares,    // both run
    kBlocks,    // Weft is not attached, and cannot be without switching the other off
    kSilenced,  // Weft is attached, and the other does not run there
  };
  Effect effect = Effect::kShares;
  std::string hook;     // "cgroup/connect4", "sk_lookup"
  std::string program;  // as the kernel names it, cut to 15 characters
  uint32_t id = 0;
  std::string where;    // the cgroup it is attached to, or the namespace
  std::string owner;    // "Cilium", as far as its name tells; empty: unknown
  std::string meaning;  // for both
  std::string hint;     // what to type or do next
};

// "cgroup/connect4: foreign_connect (id 12) at /sys/fs/cgroup".
inline std::string describe(const Rival& rival) {
  return str_cat(rival.hook, ": ", rival.program.empty() ? "a program without name" : rival.program, " (id ",
                 rival.id, rival.owner.empty() ? "" : ", ", rival.owner, ") at ", rival.where);
}

}  // namespace weft::agent
