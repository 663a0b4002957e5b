// For whom a whole agent signs: the proxy of its node asks for its pods and, where it serves gateways, for
// the mesh's gateways.
#include <gtest/gtest.h>

#include "proto/istio/ca.grpc.pb.h"
#include "tests/unit/agent/agent_world.h"
#include "tests/unit/identity/pki.h"

namespace weft::agent {
namespace {

constexpr char kEdge[] = "spiffe://cluster.local/ns/shop/sa/edge-weft";

class AgentCertificatesTest : public AgentWorld {
 protected:
  void SetUp() override {
    authority_ = *control_plane::CertificateAuthority::open({.folder = folder_.file("ca")}, absl::Now());
    mesh::v1::RouteSet routes;
    routes.set_name("edge:80");
    routes.set_namespace_("shop");
    routes.mutable_gateway()->set_port(80);
    routes.mutable_gateway()->set_kind(mesh::v1::GatewayBinding::HTTP);
    routes.mutable_gateway()->set_any_host(true);
    routes.mutable_gateway()->add_identities(kEdge);
    first_.generation = 1;
    first_.upserted = {{control_plane::kRouteSetType, "gateway/80/*", "1", routes.SerializeAsString()}};
  }

  grpc::Status ask_for(const std::string& id, istio::v1::auth::IstioCertificateResponse* reply) const {
    const auto stub = istio::v1::auth::IstioCertificateService::NewStub(
        grpc::CreateChannel("unix:" + folder_.file("xds.sock"), grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    istio::v1::auth::IstioCertificateRequest request;
    request.set_csr(test::request_pem(key_.get(), {.names = {{GEN_URI, id}}}));
    request.set_validity_duration(3600);
    return stub->CreateCertificate(&context, request, reply);
  }
  bool signs_for(const std::string& id) const {
    istio::v1::auth::IstioCertificateResponse reply;
    const grpc::Status status = ask_for(id, &reply);
    EXPECT_TRUE(status.ok() || status.error_code() == grpc::StatusCode::UNAUTHENTICATED)
        << status.error_message();
    return status.ok() && reply.cert_chain_size() == 2;
  }

  const KeyPtr key_ = test::p256_key();
};

TEST_F(AgentCertificatesTest, WhereGatewaysAreServedTheirIdentitiesAreSignedAndNoOthers) {
  gateway_address_ = IpAddress::parse("127.0.0.1");
  start();
  EXPECT_TRUE(signs_for(kEdge));
  EXPECT_FALSE(signs_for("spiffe://cluster.local/ns/shop/sa/other-weft"));
  EXPECT_FALSE(signs_for("spiffe://cluster.local/ns/bank/sa/edge-weft"));
  EXPECT_FALSE(signs_for("spiffe://other/ns/shop/sa/edge-weft"));
  control_plane::Change change;
  change.generation = 2;
  change.removed = {{control_plane::kRouteSetType, "gateway/80/*"}};
  subscriber_(change);
  EXPECT_EQ(status().config_generation(), 2u);
  EXPECT_FALSE(signs_for(kEdge)) << "the Gateway is gone";
}

// An istiod's: it would be asked again and again.
TEST_F(AgentCertificatesTest, AnAuthorityThatSignsForPodsOnlyIsNotAskedForGateways) {
  gateway_address_ = IpAddress::parse("127.0.0.1");
  signs_for_gateways_ = false;
  start();
  istio::v1::auth::IstioCertificateResponse reply;
  const grpc::Status answer = ask_for(kEdge, &reply);
  EXPECT_EQ(answer.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_NE(answer.error_message().find("pods only"), std::string::npos) << answer.error_message();
  EXPECT_EQ(reply.cert_chain_size(), 0);
  EXPECT_FALSE(signs_for("spiffe://cluster.local/ns/shop/sa/other-weft")) << "a refusal, as ever";
}

TEST_F(AgentCertificatesTest, ANodeThatServesNoGatewaysGetsNoneOfThem) {
  start();
  EXPECT_FALSE(signs_for(kEdge));
}

}  // namespace
}  // namespace weft::agent
