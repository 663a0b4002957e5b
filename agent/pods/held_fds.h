// Copies of what a pod's namespace is held by. Announcements share a NamespaceFds with the thread that sends
// them, so that none is changed once it was announced.
#pragma once

#include <memory>
#include <vector>

#include "agent/feed/proxy_feed.h"
#include "base/fd.h"

namespace weft::agent {

// dup(2) of each for the dataplane: the pod keeps its own descriptors for later proxies.
std::vector<UniqueFd> duplicates(const std::vector<UniqueFd>& fds);

// The same namespace, whose listeners are to be others.
std::shared_ptr<NamespaceFds> without_listeners(const NamespaceFds& fds);

}  // namespace weft::agent
