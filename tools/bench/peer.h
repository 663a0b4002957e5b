// The two ends of a measured connection: a server process and client processes in their namespaces, cgroups
// and on their CPUs, told what to do over a socket pair. Used by weft-bench-l4; every end stops with its
// parent.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/address.h"
#include "base/fd.h"

namespace weft::bench {

struct Place {
  std::string netns_path;
  std::string cgroup;  // empty: stays where the parent is
  int cpu = 0;
};

enum class Job : uint32_t {
  kConnect,    // `count` connects (at least one), one after the other, each reset at once; the median time
               // inside connect()
  kEstablish,  // opens the connection that the next two use; no time
  kPingPong,   // `count` round trips of 1 KiB
  kBulk,       // `count` writes of 64 KiB, then one byte back
};

// Answers every job of any number of clients.
class ServerPeer {
 public:
  ServerPeer(const Place& place, const SocketAddress& address);
  ~ServerPeer();

 private:
  pid_t pid_ = -1;
};

class ClientPeer {
 public:
  explicit ClientPeer(const Place& place);
  ~ClientPeer();
  ClientPeer(ClientPeer&& other) noexcept : pid_(other.pid_), control_(std::move(other.control_)) {
    other.pid_ = -1;
  }
  // Nanoseconds; exits the program with a message when the other side fails.
  uint64_t run(Job job, uint32_t count, const SocketAddress& target);

 private:
  pid_t pid_ = -1;
  UniqueFd control_;
};

}  // namespace weft::bench
