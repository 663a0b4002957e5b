// Plain connections that come in to the server of tunnel_rig.h, as the kernel hands them over.
#pragma once

#include <sys/socket.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "tests/unit/proxy-engine/tunnel_rig.h"
#include "userspace-proxy/session/downstream_connection.h"

namespace weft::proxy {

class PlainInboundTest : public TunnelTest, private DownstreamConnection::Owner {
 protected:
  void TearDown() override {
    while (DownstreamConnection* one = connections_.front()) one->cut(Outcome::kDrained);
    TunnelTest::TearDown();
  }

  // A client's end; the proxy has taken the other from the application's port, as the kernel would steer it.
  FarEnd connect(std::optional<agent::PeerIdentity> identity = std::nullopt) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage storage{};
    const socklen_t length = application_address_.to_sockaddr(&storage);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
    UniqueFd taken;
    EXPECT_TRUE(until([&] {
      taken.reset(::accept4(application_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      return taken.valid();
    }));
    const SocketAddress client = local_address(fd.get());
    auto* connection = new DownstreamConnection(*context_, *this, server_, client);
    connections_.push_back(*connection);
    connection->start_inbound(
        std::move(taken),
        std::make_unique<PlainInbound>(agent::PolicyConnection{
            .source = client.ip, .identity = std::move(identity), .destination = application_address_}));
    return FarEnd(std::move(fd));
  }
  // As the worker does after a snapshot.
  void change_policies(std::vector<AuthorizationPtr> policies) {
    use_policies(std::move(policies));
    for (DownstreamConnection *one = connections_.front(), *next = nullptr; one != nullptr; one = next) {
      next = connections_.after(*one);
      one->recheck_inbound();
    }
  }
  bool over(FarEnd& end) {
    return until([&] { return end.end() != FarEnd::End::kOpen; });
  }

  void ended(DownstreamConnection& connection) override {
    static_cast<ListNode<>&>(connection).unlink();
    loop_->retire(std::unique_ptr<Retirable>(&connection));
  }

  IntrusiveList<DownstreamConnection> connections_;
};

}  // namespace weft::proxy
