// A worker that has listeners of both kinds: they stop and go on together.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/unit/proxy-engine/tunnel_rig.h"

namespace weft::proxy {
namespace {

// For the pod whose listener it is; see Rig::listen().
CredentialSetPtr credentials_of(const std::string& uid) {
  const test::Authority authority = test::make_authority("mesh");
  const test::Leaf leaf = test::make_leaf(authority, {.names = {{GEN_URI, kServerId}}});
  const std::string chain[] = {to_pem(leaf.certificate.get()), to_pem(authority.certificate.get())};
  auto made = make_credentials(*SpiffeId::parse(kServerId), share(leaf.key.get()), chain, {});
  EXPECT_TRUE(made.ok()) << made.status();
  auto set = std::make_shared<CredentialSet>();
  set->by_workload.emplace(uid, *made);
  set->by_id.emplace((*made)->id, *made);
  return set;
}

TEST(HboneListenerTest, AWorkerFullOfTunnelsPeersServesOthersOnceTheyAreGone) {
  TestServer server(always("served"));
  Rig::Setup setup = setup_for(server.address());
  setup.options.max_connections = 8;
  Rig rig(setup);
  rig.worker().set_credentials(credentials_of("pod 2"));
  SocketAddress address;
  rig.listen(2, listen_at(own_loopback(), kHbonePort, &address));
  std::vector<TestConnection> silent;
  for (int i = 0; i < 8; ++i) silent.push_back(TestConnection::to(address));
  ASSERT_TRUE(rig.wait_for([&] { return rig.worker().gauges().downstream_connections == 8; }));
  TestConnection client = rig.connect();
  client.send(kGetRoot);
  silent.clear();
  // It waited in the listener's queue; the overload may last a turn longer.
  EXPECT_NE(client.read_message(), "");
  EXPECT_TRUE(rig.wait_for([&] { return rig.get() == ok_response("served"); }));
}

}  // namespace
}  // namespace weft::proxy
