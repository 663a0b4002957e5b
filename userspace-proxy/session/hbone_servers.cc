// HboneServers of hbone_servers.h.
#include "userspace-proxy/session/hbone_servers.h"

namespace weft::proxy {
namespace {

// Of one call. Those that were looked at in vain go to the end of the list, so the next call sees others.
constexpr int kLook = 64;

template <typename Tag, typename F>
void look_at(IntrusiveList<HboneServer, Tag>& connections, F f) {
  const HboneServer* first = connections.front();
  for (int i = 0; i < kLook && connections.front() != nullptr; ++i) {
    HboneServer& one = *connections.front();
    connections.push_back(one);
    if (!f(one) || connections.front() == first) return;
  }
}

}  // namespace

void HboneServers::serve(std::shared_ptr<CaptureOrigin> origin, UniqueFd fd, const SocketAddress& peer) {
  if (origin->handshake_count >= kMaxHandshakes) origin->handshakes.front()->cut();
  auto* connection = new HboneServer(context_, *this, std::move(origin), peer);
  connections_.push_back(*connection);
  connection->start(std::move(fd));
}

void HboneServers::recheck() {
  each([](HboneServer& one) { one.recheck(); });
}

void HboneServers::identities_changed() {
  each([](HboneServer& one) { one.identities_changed(); });
}

void HboneServers::drain() {
  each([](HboneServer& one) { one.drain(); });
}

void HboneServers::cut_all() {
  each([](HboneServer& one) { one.cut(); });
}

void HboneServers::give_up_idle(uint64_t count) {
  look_at(connections_, [&](HboneServer& one) {
    if (count == 0) return false;
    if (one.idle() || one.leaving()) --count;
    if (one.idle()) one.drain();
    return true;
  });
}

bool HboneServers::give_up_idle(CaptureOrigin& pod) {
  HboneServer* found = nullptr;
  look_at(pod.tunnel_servers, [&](HboneServer& one) {
    if (one.idle()) found = &one;
    return found == nullptr;
  });
  if (found != nullptr) found->cut();
  return found != nullptr;
}

void HboneServers::ended(HboneServer& connection) {
  static_cast<ListNode<>&>(connection).unlink();
  owner_.hbone_ended();
}

}  // namespace weft::proxy
