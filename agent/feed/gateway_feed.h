// The node's own ports, where gateways listen for clients outside the mesh: opened here, because the proxy
// has no right to, and handed to it as one more namespace. Stands between the pods and the feed, so that what
// a proxy is told to serve is always both. Reconciler thread only, but for wait_served().
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/feed/proxy_feed.h"
#include "base/address.h"
#include "base/clock.h"

namespace weft::agent {

// In place of a pod's uid and cookie; no namespace has such a cookie. The proxy knows the uid. Each port is
// announced by itself: a message carries few descriptors.
inline constexpr char kGatewayUid[] = "weft.dev/gateway";
inline constexpr uint64_t gateway_cookie(uint16_t port) { return ~uint64_t{0} - port; }

class GatewayFeed final : public ProxyFeed {
 public:
  struct Options {
    // Where the ports are opened; absent: this node serves no gateways.
    std::optional<IpAddress> address;
    // Sockets for each port, one for each worker of the proxy at best.
    uint32_t listeners = 1;
    // How long after a failure a port is tried again.
    std::chrono::milliseconds retry_after{5000};
  };
  GatewayFeed(ProxyFeed& feed, Options options) : feed_(feed), options_(options) {}

  // Opens and closes ports, and tells the proxy. Ports that cannot be opened are logged, and retry() tries
  // them again. Before the first take_held() nothing is opened: a running proxy may have the sockets, with
  // connections in their queues.
  void want(const std::set<uint16_t>& ports);
  // Takes what is the gateways' out of what a proxy holds, which then is to get a snapshot: ports that are
  // wanted here and not open are adopted. Opens what is missing.
  void take_held(std::vector<HeldNamespace>* held);
  // Tries again what could not be opened, at `now` after retry_after at the earliest; logs only what
  // succeeds.
  void retry(MonotonicNs now);
  // When retry() has something to do; UINT64_MAX: never.
  MonotonicNs next_retry() const { return failed_.empty() ? UINT64_MAX : retry_at_; }

  // Ports that are open.
  std::set<uint16_t> open() const;
  // Ports that could not be opened, and why.
  const std::map<uint16_t, std::string>& failed() const { return failed_; }

  void snapshot(uint64_t connection, std::vector<Announcement> add, std::vector<uint64_t> keep) override;
  void add(Announcement announcement, Done done) override;
  void remove(uint64_t netns_cookie, Done done) override;
  absl::Status wait_served(uint64_t netns_cookie, std::chrono::milliseconds timeout) override;

 private:
  // Those that are wanted and not open; which were.
  std::vector<uint16_t> open_missing();
  bool open_port(uint16_t port);
  Announcement announcement(uint16_t port) const;

  ProxyFeed& feed_;
  Options options_;
  std::map<uint16_t, std::vector<UniqueFd>> ports_;
  std::set<uint16_t> wanted_;
  std::map<uint16_t, std::string> failed_;
  MonotonicNs retry_at_ = 0;
  bool proxy_came_ = false;
  bool warned_ = false;
};

}  // namespace weft::agent
