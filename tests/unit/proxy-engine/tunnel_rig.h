// Two ends of HBONE in one process: the pool of a client's worker and the servers of another's, over sockets
// of the loopback, on one loop that the test turns and whose clock it moves. The application is whatever
// listens at the server's address.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "tests/unit/identity/pki.h"
#include "tests/unit/proxy-engine/loop_world.h"
#include "tests/unit/proxy-engine/turned_rig.h"
#include "userspace-proxy/session/hbone_servers.h"

namespace weft::proxy {

inline constexpr char kClientUid[] = "client";
inline constexpr char kServerUid[] = "server";
inline constexpr char kClientId[] = "spiffe://cluster.local/ns/shop/sa/client";
inline constexpr char kServerId[] = "spiffe://cluster.local/ns/shop/sa/server";

// An address of the loopback that no other process of the suite has, so that port 15008 is free there.
IpAddress own_loopback();
// A listening socket that does not block; port 0: any.
UniqueFd listen_at(const IpAddress& ip, uint16_t port, SocketAddress* address);

class TunnelTest : public LoopTest, protected HboneServers::Owner {
 protected:
  // A tunnel on its way to a socket, or there.
  struct Call {
    Call(TunnelTest& test, const SocketAddress& to);
    ConnectStatus status() const { return connector.status(); }
    Socket socket;
    Connector connector;
    TestStep step;
  };

  void SetUp() override;
  void TearDown() override;

  // Turns, and takes in what waits at port 15008, until it is so; false after twenty seconds.
  bool until(const std::function<bool()>& done);
  void pass(uint64_t ms);
  std::unique_ptr<Call> call() { return call(application_address_); }
  std::unique_ptr<Call> call(const SocketAddress& to) { return std::make_unique<Call>(*this, to); }
  // One that is open.
  std::unique_ptr<Call> opened();
  // The application's end of the next connection that comes to it.
  FarEnd accept_application();
  int receive(Call& call, InputBuffer& input);
  int send(Call& call, std::string_view bytes);
  // The server's workload has these policies from now on; null: one that is not known.
  void use_policies(std::vector<std::shared_ptr<const istio::security::Authorization>> policies,
                    std::shared_ptr<const RequestAuthentication> authentication = nullptr,
                    std::vector<uint16_t> opaque_ports = {});
  // What a test has to add to the snapshot that use_policies() makes.
  virtual void extend(Snapshot&) {}
  CredentialsPtr credentials(const char* id) const;

  bool has_room(CaptureOrigin&) override { return pod_has_room_; }
  void hbone_ended() override { ++ended_; }

  const test::Authority authority_ = test::make_authority("mesh");
  FakeClock clock_;
  IpAddress ip_;
  UniqueFd hbone_listener_, application_;
  SocketAddress hbone_address_, application_address_;
  std::unique_ptr<HomeNetns> home_;
  RecordingSink sink_;
  Http2FaultCounts faults_;
  TlsContexts tls_;
  ServerTlsTable server_tls_;
  std::unique_ptr<HbonePool> hbone_;
  std::unique_ptr<UpstreamPool> pool_;
  Balancer balancer_{1};
  std::unique_ptr<ProxyContext> context_;
  std::unique_ptr<HboneServers> servers_;
  std::shared_ptr<CaptureOrigin> client_, server_;
  const SpiffeId target_ = *SpiffeId::parse(kServerId);
  bool serving_ = true;  // else what comes to port 15008 waits
  bool pod_has_room_ = true;
  int ended_ = 0;
  uint64_t generation_ = 0;
};

}  // namespace weft::proxy
