// IdentityClient against the real certificate service on a Unix socket: certificates come, go and are
// renewed, and a revocation list reaches them. And when they are asked for again.
#include "userspace-proxy/config/identity_client.h"

#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

#include "base/renewal.h"
#include "control-plane/identity/certificate_service.h"
#include "control-plane/identity/key_file.h"
#include "proto/weft/proxy/v1/identity.grpc.pb.h"
#include "tests/unit/base/scratch_folder.h"
#include "tests/unit/identity/pki.h"

namespace weft::proxy {
namespace {

constexpr char kWeb[] = "spiffe://cluster.local/ns/shop/sa/web";
constexpr char kDatabase[] = "spiffe://cluster.local/ns/shop/sa/database";

class Revocations final : public v1::Revocations::Service {
 public:
  Revocations(const control_plane::CertificateAuthority& authority,
              const control_plane::CertificateService& service)
      : authority_(authority), service_(service) {}
  grpc::Status Get(grpc::ServerContext*, const v1::RevocationsRequest*,
                   v1::RevocationsResponse* reply) override {
    reply->set_lists(*authority_.revocations());
    for (const auto& renewal : service_.renewals()) {
      v1::Renewal& out = *reply->add_renewals();
      out.set_identity(renewal.identity);
      out.set_not_before_unix(absl::ToUnixSeconds(renewal.begin));
    }
    return grpc::Status::OK;
  }

 private:
  const control_plane::CertificateAuthority& authority_;
  const control_plane::CertificateService& service_;
};

class IdentityClientTest : public testing::Test {
 protected:
  // The service's clock is `late`.
  explicit IdentityClientTest(absl::Duration late = absl::ZeroDuration(),
                              absl::Duration lifetime = absl::Seconds(3))
      : lifetime_(lifetime) {
    authority_ = *control_plane::CertificateAuthority::open(
        {.folder = folder_.file("ca"), .leaf_lifetime = lifetime_}, absl::Now());
    service_ = std::make_unique<control_plane::CertificateService>(control_plane::CertificateService::Parts{
        .sign = control_plane::CertificateService::signed_by(*authority_),
        .runs_on =
            [this](const std::string&, const SpiffeId& id) {
              const std::lock_guard lock(mutex_);
              asked_.push_back(absl::Now());
              changed_.notify_all();
              return id.to_string() == kWeb;
            },
        .node_of = control_plane::CertificateService::all_of("node1"),
        .now = [late] { return absl::Now() - late; }});
    revocations_ = std::make_unique<Revocations>(*authority_, *service_);
    grpc::ServerBuilder builder;
    builder.AddListeningPort(target(), grpc::InsecureServerCredentials());
    builder.RegisterService(service_.get());
    builder.RegisterService(revocations_.get());
    server_ = builder.BuildAndStart();
    client_ = IdentityClient::start({.target = target(), .revocation_period = std::chrono::milliseconds(50)},
                                    [this](CredentialSetPtr set) {
                                      const std::lock_guard lock(mutex_);
                                      newest_ = std::move(set);
                                      changed_.notify_all();
                                    });
  }
  ~IdentityClientTest() override {
    client_.reset();
    server_->Shutdown(std::chrono::system_clock::now());
  }

  std::string target() const { return "unix:" + folder_.file("xds.sock"); }
  // The newest set, once it is so.
  template <typename F>
  CredentialSetPtr wait(F good) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(20), [&] { return newest_ != nullptr && good(*newest_); });
    return newest_;
  }

  const absl::Duration lifetime_;
  const test::ScratchFolder folder_;
  std::unique_ptr<control_plane::CertificateAuthority> authority_;
  std::unique_ptr<control_plane::CertificateService> service_;
  std::unique_ptr<Revocations> revocations_;
  std::unique_ptr<grpc::Server> server_;
  std::mutex mutex_;
  std::condition_variable changed_;
  CredentialSetPtr newest_;
  std::vector<absl::Time> asked_;
  std::unique_ptr<IdentityClient> client_;
};

TEST_F(IdentityClientTest, WorkloadsOfOneIdentityShareItsCertificateAndOthersGetNone) {
  client_->want(
      {{"a", *SpiffeId::parse(kWeb)}, {"b", *SpiffeId::parse(kWeb)}, {"c", *SpiffeId::parse(kDatabase)}});
  const CredentialSetPtr set = wait([](const CredentialSet& s) { return s.by_workload.size() == 2; });
  ASSERT_EQ(set->by_workload.size(), 2u);
  EXPECT_EQ(set->by_workload.at("a"), set->by_workload.at("b"));
  EXPECT_EQ(set->by_workload.at("a")->id.to_string(), kWeb);
  EXPECT_FALSE(set->by_id.contains(*SpiffeId::parse(kDatabase))) << "no workload of this node";
  client_->want({});
  EXPECT_TRUE(wait([](const CredentialSet& s) { return s.by_id.empty(); })->by_id.empty());
}

TEST_F(IdentityClientTest, ACertificateIsRenewedWithANewKeyBeforeItEnds) {
  client_->want({{"a", *SpiffeId::parse(kWeb)}});
  const CredentialSetPtr first = wait([](const CredentialSet& s) { return s.by_workload.contains("a"); });
  ASSERT_TRUE(first->by_workload.contains("a"));
  const CredentialsPtr before = first->by_workload.at("a");
  const CredentialSetPtr second = wait([&](const CredentialSet& s) {
    const auto now = s.by_workload.find("a");
    return now != s.by_workload.end() && now->second != before;
  });
  const CredentialsPtr after = second->by_workload.at("a");
  ASSERT_NE(after, before);
  EXPECT_NE(EVP_PKEY_eq(after->key.get(), before->key.get()), 1);
  EXPECT_NE(serial_number(after->chain[0].get()), serial_number(before->chain[0].get()));
}

TEST_F(IdentityClientTest, ARevocationListReachesTheCredentials) {
  client_->want({{"a", *SpiffeId::parse(kWeb)}});
  ASSERT_TRUE(
      wait([](const CredentialSet& s) { return s.by_workload.contains("a"); })->by_workload.contains("a"));
  const std::string lists = test::crl_pem(test::make_authority("root"), {});
  ASSERT_TRUE(control_plane::write_text_file(folder_.file("ca/crl.pem"), lists).ok());
  const CredentialSetPtr set = wait([](const CredentialSet& s) {
    return s.by_workload.contains("a") && !s.by_workload.at("a")->crls.empty();
  });
  EXPECT_EQ(set->by_workload.at("a")->crls.size(), 1u);
}

class LongLifeTest : public IdentityClientTest {
 protected:
  LongLifeTest() : IdentityClientTest(absl::ZeroDuration(), absl::Hours(24)) {}
  CredentialsPtr next(const CredentialsPtr& before) {
    const CredentialSetPtr set = wait([&](const CredentialSet& s) {
      const auto now = s.by_workload.find("a");
      return now != s.by_workload.end() && now->second != before;
    });
    return set == nullptr || !set->by_workload.contains("a") ? nullptr : set->by_workload.at("a");
  }
};

TEST_F(LongLifeTest, ACertificateIsReplacedBeforeItIsTimeWhenTheAgentWantsIt) {
  const SpiffeId web = *SpiffeId::parse(kWeb), database = *SpiffeId::parse(kDatabase);
  client_->want({{"a", web}});
  const CredentialsPtr first = next(nullptr);
  ASSERT_NE(first, nullptr);
  EXPECT_TRUE(service_->renew(&database).empty()) << "nobody has it";
  ASSERT_EQ(service_->renew(&web).size(), 1u);
  const CredentialsPtr second = next(first);
  ASSERT_NE(second, nullptr);
  EXPECT_NE(serial_number(second->chain[0].get()), serial_number(first->chain[0].get()));
  EXPECT_NE(EVP_PKEY_eq(second->key.get(), first->key.get()), 1);
  ASSERT_EQ(service_->renew(nullptr).size(), 1u);
  EXPECT_NE(next(second), second) << "all of them";
  // Once it has begun after that, it stays.
  std::unique_lock lock(mutex_);
  EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(20), [&] {
    lock.unlock();
    const bool done = service_->overdue().empty();
    lock.lock();
    return done;
  }));
}

class LateAuthorityTest : public IdentityClientTest {
 protected:
  LateAuthorityTest() : IdentityClientTest(absl::Hours(48)) {}
};

TEST_F(LateAuthorityTest, ACertificateThatHasExpiredIsNotUsedAndNotAskedForWithoutEnd) {
  client_->want({{"a", *SpiffeId::parse(kWeb)}});
  std::unique_lock lock(mutex_);
  ASSERT_TRUE(changed_.wait_for(lock, std::chrono::seconds(20), [&] { return asked_.size() == 3; }));
  // One second and then two, each a fifth more or less.
  EXPECT_GT(asked_[1] - asked_[0], absl::Milliseconds(700));
  EXPECT_GT(asked_[2] - asked_[1], absl::Milliseconds(1'400));
  EXPECT_TRUE(newest_ == nullptr || newest_->by_workload.empty());
}

TEST(RenewalTest, ItIsAskedForAtAboutHalfOfItsLife) {
  const absl::Time from = absl::FromUnixSeconds(1'000'000);
  const absl::Time to = from + absl::Hours(24);
  EXPECT_EQ(renewal_time(from, to, 0), from + absl::Minutes(648));
  EXPECT_EQ(renewal_time(from, to, 0.5), from + absl::Hours(12));
  EXPECT_LT(renewal_time(from, to, 0.999), from + absl::Minutes(793));
}

TEST(RenewalTest, FailuresWaitLongerEachTimeButNeverPastTheEnd) {
  const absl::Time now = absl::FromUnixSeconds(1'000'000);
  EXPECT_EQ(retry_time(now, 1, absl::InfinitePast(), 0.5), now + absl::Seconds(1));
  EXPECT_EQ(retry_time(now, 4, absl::InfinitePast(), 0.5), now + absl::Seconds(8));
  EXPECT_EQ(retry_time(now, 100, absl::InfinitePast(), 0.5), now + absl::Seconds(150));
  EXPECT_EQ(retry_time(now, 100, now + absl::Seconds(20), 0.5), now + absl::Seconds(20));
  EXPECT_EQ(retry_time(now, 1, absl::InfinitePast(), 0), now + absl::Milliseconds(800));
}

}  // namespace
}  // namespace weft::proxy
