// CertificateService over a real gRPC connection: who gets a certificate, and who hears nothing but no.
#include "control-plane/identity/certificate_service.h"

#include <grpcpp/create_channel_posix.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "tests/unit/base/scratch_folder.h"
#include "tests/unit/identity/pki.h"

namespace weft::control_plane {
namespace {

constexpr char kWeb[] = "spiffe://cluster.local/ns/shop/sa/web";
constexpr char kDatabase[] = "spiffe://cluster.local/ns/shop/sa/database";

class CertificateServiceTest : public testing::Test {
 protected:
  CertificateServiceTest() { authority_ = *CertificateAuthority::open({.folder = folder_.path()}, now_); }
  ~CertificateServiceTest() override {
    stub_.reset();
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
  }

  // On node-a there is the workload web, on node-b the workload database.
  void serve(const std::string& local_node) {
    service_ = std::make_unique<CertificateService>(
        CertificateService::Parts{.sign = CertificateService::signed_by(*authority_),
                                  .runs_on =
                                      [this](const std::string& node, const SpiffeId& id) {
                                        return !gone_ && id.to_string() == (node == "node-a"   ? kWeb
                                                                            : node == "node-b" ? kDatabase
                                                                                               : "");
                                      },
                                  .node_of = CertificateService::all_of(local_node),
                                  .now = [this] { return now_; }});
    grpc::ServerBuilder builder;
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    grpc::AddInsecureChannelFromFd(server_.get(), ends[0]);
    stub_ =
        istio::v1::auth::IstioCertificateService::NewStub(grpc::CreateInsecureChannelFromFd("node", ends[1]));
  }

  grpc::Status ask(const std::string& id, const std::string& token = "",
                   const std::string& impersonated = "") {
    istio::v1::auth::IstioCertificateRequest request;
    request.set_csr(test::request_pem(key_.get(), {.names = {{GEN_URI, id}}}));
    request.set_validity_duration(86400);
    (*request.mutable_metadata()->mutable_fields())["ImpersonatedIdentity"].set_string_value(
        impersonated.empty() ? id : impersonated);
    grpc::ClientContext context;
    if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
    response_.Clear();
    return stub_->CreateCertificate(&context, request, &response_);
  }

  const test::ScratchFolder folder_;
  absl::Time now_ = absl::Now();
  bool gone_ = false;  // the workloads have left
  const KeyPtr key_ = test::p256_key();
  std::unique_ptr<CertificateAuthority> authority_;
  std::unique_ptr<CertificateService> service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<istio::v1::auth::IstioCertificateService::Stub> stub_;
  istio::v1::auth::IstioCertificateResponse response_;
};

TEST_F(CertificateServiceTest, ThisNodesProxyGetsACertificateOfAWorkloadHere) {
  serve("node-a");
  const grpc::Status status = ask(kWeb);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response_.cert_chain_size(), 2);
  EXPECT_EQ(response_.cert_chain(1), authority_->bundle());
  const auto leaf = read_certificates(response_.cert_chain(0));
  ASSERT_TRUE(leaf.ok());
  EXPECT_EQ(X509_check_private_key((*leaf)[0].get(), key_.get()), 1);
}

TEST_F(CertificateServiceTest, AnotherNodesWorkloadIsRefused) {
  serve("node-a");
  EXPECT_EQ(ask(kDatabase).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(response_.cert_chain_size(), 0);
}

TEST_F(CertificateServiceTest, ARequestForAnotherIdentityThanItCarriesIsRefused) {
  serve("node-a");
  EXPECT_EQ(ask(kWeb, "", kDatabase).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(ask(kDatabase, "", kWeb).error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(CertificateServiceTest, ACallerWithATokenIsNotServed) {
  serve("node-a");
  EXPECT_EQ(ask(kWeb, "guess").error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(ask(kWeb).ok());
}

TEST_F(CertificateServiceTest, WhatIsGivenAndRefusedIsCountedAndTheFirstEndKnown) {
  serve("node-a");
  EXPECT_EQ(service_->first_end(), std::nullopt);
  ASSERT_TRUE(ask(kWeb).ok());
  const auto leaf = read_certificates(response_.cert_chain(0));
  ASSERT_TRUE(leaf.ok());
  const absl::Time first = not_after((*leaf)[0].get());
  EXPECT_EQ(service_->first_end(), first);
  ASSERT_FALSE(ask(kDatabase).ok());
  EXPECT_EQ(service_->given(), 1u);
  EXPECT_EQ(service_->refused(), 1u);
  now_ += absl::Hours(30);
  EXPECT_EQ(service_->first_end(), first) << "what has ended and was not replaced is what is to be seen";
  ASSERT_TRUE(ask(kWeb).ok());
  EXPECT_GT(service_->first_end().value(), now_);
  gone_ = true;
  EXPECT_EQ(service_->first_end(), std::nullopt);
}

TEST_F(CertificateServiceTest, AServerOfNoNodeServesNobody) {
  serve("");
  EXPECT_EQ(ask(kWeb).error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

}  // namespace
}  // namespace weft::control_plane
