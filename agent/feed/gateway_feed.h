// The node's own ports, where gateways listen for clients outside the mesh: opened here, because the proxy
// has no right to, and handed to it as one more namespace. Stands between the pods and the feed, so that what
// a proxy is told to serve is always both. Reconciler thread only, but for wait_served().
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "agent/feed/proxy_feed.h"
#include "base/address.h"

namespace weft::agent {

// In place of a pod's uid and cookie; no namespace has this cookie. The proxy knows the uid.
inline constexpr char kGatewayUid[] = "weft.dev/gateway";
inline constexpr uint64_t kGatewayCookie = ~uint64_t{0};

class GatewayFeed final : public ProxyFeed {
 public:
  struct Options {
    // Where the ports are opened; absent: this node serves no gateways.
    std::optional<IpAddress> address;
    // Sockets for each port, one for each worker of the proxy at best.
    uint32_t listeners = 1;
  };
  GatewayFeed(ProxyFeed& feed, Options options) : feed_(feed), options_(options) {}

  // Opens and closes ports; the proxy is told when something changed. Ports that cannot be opened are logged
  // and tried again with the next change.
  void want(const std::set<uint16_t>& ports);
  // Takes what is the gateways' out of what a proxy holds: an agent that has no such port open adopts it.
  void take_held(std::vector<HeldNamespace>* held);

  // Ports that are open.
  std::set<uint16_t> open() const;

  void snapshot(uint64_t connection, std::vector<Announcement> add, std::vector<uint64_t> keep) override;
  void add(Announcement announcement, Done done) override;
  void remove(uint64_t netns_cookie, Done done) override;
  absl::Status wait_served(uint64_t netns_cookie, std::chrono::milliseconds timeout) override;

 private:
  bool open_port(uint16_t port);
  // nullopt: no port is open.
  std::optional<Announcement> announcement() const;

  ProxyFeed& feed_;
  Options options_;
  std::map<uint16_t, std::vector<UniqueFd>> ports_;
  bool warned_ = false;
};

}  // namespace weft::agent
