// HboneServers of hbone_servers.h.
#include "userspace-proxy/session/hbone_servers.h"

namespace weft::proxy {

void HboneServers::serve(std::shared_ptr<CaptureOrigin> origin, UniqueFd fd, const SocketAddress& peer) {
  auto* connection = new HboneServer(context_, *this, std::move(origin), peer);
  connections_.push_back(*connection);
  connection->start(std::move(fd));
}

void HboneServers::recheck() {
  each([](HboneServer& one) { one.recheck(); });
}

void HboneServers::drain() {
  each([](HboneServer& one) { one.drain(); });
}

void HboneServers::cut_all() {
  each([](HboneServer& one) { one.cut(); });
}

void HboneServers::ended(HboneServer& connection) {
  static_cast<ListNode<>&>(connection).unlink();
  owner_.hbone_ended();
}

}  // namespace weft::proxy
