// DnsResolver: the addresses of host names, looked up with getaddrinfo(), each on a thread of its own, and
// again every so often, because it tells no time to live. What a failed look-up said before stays. A look-up
// that hangs holds up neither other names nor the end. Thread-safe.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace weft::control_plane {

class DnsResolver {
 public:
  // Sorted; an error when the look-up failed.
  // Runs on several threads at once, and may outlive the resolver.
  using LookUp = std::function<absl::StatusOr<std::vector<std::string>>(const std::string& host)>;
  using Addresses = std::map<std::string, std::vector<std::string>>;
  using Problems = std::map<std::string, std::string>;
  struct Options {
    std::chrono::milliseconds refresh{60'000};
    // After a failure, and twice as long after each further one, up to `refresh`.
    std::chrono::milliseconds retry{5'000};
    LookUp look_up;  // empty: getaddrinfo()
    // Logged when a name begins to fail.
    std::string event = "name_not_resolved";
    std::string next = "check the name and the node's resolver";
    // Whoever is told of addresses is told of problems too.
    bool tells_problems = false;
  };

  // `changed` runs on the resolver's thread, whenever addresses did; several changes may be told at once.
  static std::unique_ptr<DnsResolver> start(Options options, std::function<void()> changed);
  virtual ~DnsResolver() = default;

  // Names that are wanted from now on; new ones are looked up at once, others are forgotten.
  virtual void want(const std::set<std::string>& hosts) = 0;
  virtual Addresses addresses() const = 0;
  // Why the last look-up of a name failed, of those of which it did.
  virtual Problems problems() const = 0;
  // Waits until one look-up of each wanted name is over, well or not. False: `limit` passed before, or the
  // resolver was stopped. Not from `changed`.
  virtual bool wait_for_first(std::chrono::milliseconds limit) const = 0;
  // Nothing is looked up any more. Waits for `changed` when it runs, which may still use the resolver.
  virtual void stop() = 0;
};

}  // namespace weft::control_plane
