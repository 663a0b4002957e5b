// The pods this proxy serves: one master copy of every descriptor (for Held after an agent restart), and
// duplicates dealt to the workers. Used by HandoverClient on its thread; never closes a connection itself.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/fd.h"
#include "userspace-proxy/worker.h"

namespace weft::proxy {

struct ServedNamespace {
  std::string workload_uid;
  UniqueFd netns;
  std::vector<UniqueFd> listeners;
  bool confined = false;
};

class ServedNamespaces {
 public:
  // The workers are borrowed and outlive this.
  explicit ServedNamespaces(std::vector<Worker*> workers) : workers_(std::move(workers)) {}

  // Listener i goes to worker i modulo workers. A namespace that is already here is replaced.
  absl::Status add(uint64_t netns_cookie, ServedNamespace served);
  // Fine when it is not here.
  void remove(uint64_t netns_cookie);

  const std::map<uint64_t, ServedNamespace>& all() const { return served_; }

 private:
  std::vector<Worker*> workers_;
  std::map<uint64_t, ServedNamespace> served_;
};

}  // namespace weft::proxy
