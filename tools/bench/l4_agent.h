// An agent's mesh in a process that holds just that, so that its memory is what an agent's would be, and a
// proxy's stream of configuration in another. Both are forked from the benchmark while it is small, and told
// what to do over a socket pair. Used by weft-bench-l4; they end with their parent.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "tools/bench/l4_mesh.h"

namespace weft::bench {

struct Memory {
  double resident_mib = 0;
  double peak_mib = 0;  // since the process began
};

class AgentPeer {
 public:
  // The mesh is made by the first order. Any failure ends the program with a message.
  explicit AgentPeer(const L4Mesh::Options& options);
  ~AgentPeer();
  AgentPeer(const AgentPeer&) = delete;
  AgentPeer& operator=(const AgentPeer&) = delete;

  // See L4Mesh.
  L4Mesh::Spent load(uint32_t services);
  double change(uint32_t index, uint32_t version);
  Memory memory();

 private:
  pid_t pid_ = -1;
  UniqueFd control_;
};

// Asks for everything of the types that a proxy asks for, acknowledges at once and keeps nothing.
class SubscriberPeer {
 public:
  explicit SubscriberPeer(const std::string& socket_path);
  ~SubscriberPeer();
  SubscriberPeer(const SubscriberPeer&) = delete;
  SubscriberPeer& operator=(const SubscriberPeer&) = delete;

  // Connects; returns the number of resources when every type has answered.
  uint64_t subscribe();

 private:
  pid_t pid_ = -1;
  UniqueFd control_;
};

}  // namespace weft::bench
