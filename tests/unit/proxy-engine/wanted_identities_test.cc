// Which identities a proxy asks certificates for: of what it serves, and of nothing else.
#include "userspace-proxy/wanted_identities.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "userspace-proxy/config/resources.h"

namespace weft::proxy {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class NotingClient final : public IdentityClient {
 public:
  void want(std::map<std::string, SpiffeId> workloads) override {
    ids.clear();
    for (const auto& [uid, id] : workloads) ids.push_back(id.to_string());
  }
  std::vector<std::string> ids;
};

// A pod "web", and a gateway's port with a listener that shows an identity and one that does not, and with
// another gateway that only dials.
SnapshotPtr snapshot(bool with_gateway) {
  auto out = std::make_shared<Snapshot>();
  auto spec = std::make_shared<WorkloadSpec>();
  spec->identity = *SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/web");
  Source source;
  source.uid = "web";
  source.spec = std::move(spec);
  out->sources.push_back(std::move(source));
  out->source_by_uid.emplace("web", 0);
  if (!with_gateway) return out;
  auto plain = std::make_shared<ServerTerms>(), mesh = std::make_shared<ServerTerms>();
  plain->name = "plain";
  mesh->name = "mesh";
  mesh->identity = SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/edge-weft");
  for (const auto& terms : {plain, mesh})
    out->gateway_servers.push_back({.tls = terms, .l4_host = kNone, .rules = {}});
  out->gateway_servers.push_back({.tls = nullptr, .l4_host = kNone, .rules = {}});
  for (const char* id :
       {"spiffe://cluster.local/ns/shop/sa/edge-weft", "spiffe://cluster.local/ns/shop/sa/plain-weft"})
    out->gateway_identities.push_back(*SpiffeId::parse(id));
  return out;
}

TEST(WantedIdentitiesTest, AreThoseOfPodsThatAreServedAndOfGatewaysWhereThoseAre) {
  NotingClient client;
  WantedIdentities wanted(client);
  wanted.configured(snapshot(true));
  EXPECT_THAT(client.ids, IsEmpty());
  wanted.served({"web"});
  EXPECT_THAT(client.ids, ElementsAre("spiffe://cluster.local/ns/shop/sa/web"));
  wanted.served({"web", "weft.dev/gateway"});
  EXPECT_THAT(client.ids, ElementsAre("spiffe://cluster.local/ns/shop/sa/web",
                                      "spiffe://cluster.local/ns/shop/sa/edge-weft",
                                      "spiffe://cluster.local/ns/shop/sa/plain-weft"));
  wanted.configured(snapshot(false));
  EXPECT_THAT(client.ids, ElementsAre("spiffe://cluster.local/ns/shop/sa/web"));
}

}  // namespace
}  // namespace weft::proxy
