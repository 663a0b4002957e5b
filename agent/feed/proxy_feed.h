// The pods' way to the proxy: what the reconciler needs of the handover server, and the descriptors that
// travel. Implemented by HandoverServer, faked in tests.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/fd.h"

namespace weft::agent {

// A pod's namespace and its capture listeners. Shared because a queued packet may outlive the pod by a
// moment.
struct NamespaceFds {
  UniqueFd netns;
  std::vector<UniqueFd> listeners;
};

struct Announcement {
  uint64_t netns_cookie = 0;
  std::string workload_uid;
  std::shared_ptr<const NamespaceFds> fds;
  bool confined = false;  // it may reach declared destinations only
};

// What a proxy said it serves already when it connected.
struct HeldNamespace {
  uint64_t netns_cookie = 0;
  std::string workload_uid;
  std::shared_ptr<NamespaceFds> fds;
  bool confined = false;
};

// What a proxy said of itself in its Hello; one of an earlier version says less.
struct ProxyAbilities {
  bool judges_inbound = false;  // plain connections that come in to a pod
};

class ProxyFeed {
 public:
  // Called once per message with the proxy's answer, on the feed's thread.
  using Done = std::function<void(absl::Status)>;

  virtual ~ProxyFeed() = default;
  // The answer to a proxy's Hello: everything it must serve. Makes `connection` the one that add() and
  // remove() reach.
  virtual void snapshot(uint64_t connection, std::vector<Announcement> add, std::vector<uint64_t> keep) = 0;
  // kUnavailable through `done` when no proxy is connected.
  virtual void add(Announcement announcement, Done done) = 0;
  virtual void remove(uint64_t netns_cookie, Done done) = 0;
  // Any thread but the feed's: waits until the proxy serves the namespace. kUnavailable when no proxy is
  // connected.
  virtual absl::Status wait_served(uint64_t netns_cookie, std::chrono::milliseconds timeout) = 0;
};

}  // namespace weft::agent
