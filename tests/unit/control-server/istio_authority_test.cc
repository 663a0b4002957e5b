// An agent's request at a stand-in istiod in Python (tests/harness/istiod.py): what goes over the wire, what
// is taken of what comes back, and what is said where nothing can be taken.
#include "control-plane/remote/istio_authority.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "tests/harness/process.h"
#include "tests/harness/wait.h"
#include "tests/unit/base/scratch_folder.h"
#include "tests/unit/identity/pki.h"

namespace weft::control_plane {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Json = nlohmann::json;
using harness::milliseconds;

constexpr char kWeb[] = "spiffe://cluster.local/ns/shop/sa/web";
constexpr char kToken[] = "header.claims.signature";

class IstioAuthorityTest : public testing::Test {
 protected:
  void SetUp() override {
    write("token", str_cat(kToken, "\n"));
    start();
  }
  void TearDown() override {
    // Whoever hangs there must not outlive the test.
    if (istiod_ != nullptr) istiod_->stop(milliseconds(2'000));
  }

  void start() {
    harness::Spawn spawn;
    spawn.argv = {"/usr/bin/python3", "-B", "tests/harness/istiod.py", folder_.path(),
                  str_cat(port_.number())};
    auto started = harness::Process::start(spawn);
    ASSERT_TRUE(started.ok()) << started.status();
    istiod_ = *std::move(started);
    ASSERT_TRUE(harness::wait_until(milliseconds(20'000), [this] {
      return istiod_->output().find("listening") != std::string::npos || !istiod_->running();
    }));
    ASSERT_TRUE(istiod_->running()) << "python3-grpcio and python3-cryptography are in tools/packages.txt: "
                                    << istiod_->output();
  }
  void write(const std::string& name, const std::string& text) { std::ofstream(folder_.file(name)) << text; }
  ControlAccess access() const {
    return {.target = str_cat("127.0.0.1:", port_.number()),
            .authority_file = folder_.file("root.crt"),
            .token_file = folder_.file("token"),
            .cluster_id = kIstioCluster};
  }
  absl::StatusOr<std::vector<std::string>> sign(IstioAuthority& authority) {
    const std::string pem = test::request_pem(key_.get(), {.names = {{GEN_URI, kWeb}}});
    const auto request = parse_request(pem);
    if (!request.ok()) return request.status();
    return authority.sign(pem, *request, absl::Hours(24), absl::Now());
  }
  // Why nothing was taken of what the stand-in did.
  std::string refusal(const std::string& mode) {
    write("mode", mode);
    IstioAuthority authority(access());
    const auto chain = sign(authority);
    EXPECT_FALSE(chain.ok()) << mode;
    if (!chain.ok()) EXPECT_THAT(authority.problems(), ElementsAre(std::string(chain.status().message())));
    return std::string(chain.status().message());
  }
  Json last_question() {
    const std::string text = istiod_->output();
    const size_t end = text.rfind('\n'), begin = text.rfind('\n', end - 1);
    return Json::parse(text.substr(begin + 1, end - begin - 1), nullptr, false);
  }

  const weft::test::ScratchFolder folder_;
  const harness::ReservedPort port_;
  const KeyPtr key_ = test::p256_key();
  std::unique_ptr<harness::Process> istiod_;
};

TEST_F(IstioAuthorityTest, IsAskedAsANodeAgentOfAnAmbientMeshAsks) {
  IstioAuthority authority(access());
  const auto chain = sign(authority);
  ASSERT_TRUE(chain.ok()) << chain.status();
  EXPECT_EQ(chain->size(), 3u) << "the leaf, what signed it, the root";
  EXPECT_THAT(authority.problems(), IsEmpty());
  const Json asked = last_question();
  EXPECT_EQ(asked["numbers"], Json({1, 3, 4})) << asked;
  EXPECT_EQ(asked["validity"], 86400);
  EXPECT_EQ(asked["metadata"], Json({{"ImpersonatedIdentity", kWeb}}));
  EXPECT_EQ(asked["authorization"], str_cat("Bearer ", kToken));
  EXPECT_EQ(asked["clusterid"], "Kubernetes");
  EXPECT_EQ(asked["signature"], true);
  EXPECT_EQ(asked["curve"], "secp256r1");
  EXPECT_EQ(asked["hash"], "sha256");
  EXPECT_EQ(asked["subject"], "");
  EXPECT_EQ(asked["extensions"].size(), 1u);
  EXPECT_EQ(asked["extensions"][0][0], "2.5.29.17") << "subjectAltName";
  EXPECT_EQ(asked["uris"], Json({kWeb}));
}

TEST_F(IstioAuthorityTest, ATokenThatWasReplacedIsUsedFromTheNextRequestOn) {
  IstioAuthority authority(access());
  ASSERT_TRUE(sign(authority).ok());
  write("token", "another");
  ASSERT_TRUE(sign(authority).ok());
  EXPECT_EQ(last_question()["authorization"], "Bearer another");
}

TEST_F(IstioAuthorityTest, WhoIsRefusedHearsWhatToLookAt) {
  EXPECT_THAT(refusal("refuse"),
              AllOf(HasSubstr(str_cat("istiod 127.0.0.1:", port_.number())),
                    HasSubstr("request authenticate failure"), HasSubstr("audience istio-ca"),
                    HasSubstr("CA_TRUSTED_NODE_ACCOUNTS"), Not(HasSubstr(kToken))));
}

// It would hang for good.
TEST_F(IstioAuthorityTest, OneThatHangsIsGivenUp) {
  EXPECT_THAT(refusal("hang"), HasSubstr("see that istiod runs"));
}

TEST_F(IstioAuthorityTest, AnAnswerThatIsNotForTheRequestIsNotTaken) {
  EXPECT_THAT(refusal("expired"), HasSubstr("expired at"));
  EXPECT_THAT(refusal("early"), HasSubstr("are both clocks right?"));
  EXPECT_THAT(refusal("other-key"), HasSubstr("for another key"));
  EXPECT_THAT(refusal("other-identity"),
              HasSubstr(str_cat("for spiffe://cluster.local/ns/shop/sa/other, asked was ", kWeb)));
  EXPECT_THAT(refusal("no-roots"), HasSubstr("a chain without roots"));
  EXPECT_THAT(refusal("other-roots"), HasSubstr("does not lead to the roots"));
  EXPECT_THAT(refusal("ed448"), AllOf(HasSubstr("the signature of the leaf is by ED448"),
                                      HasSubstr("next: give istiod an authority with such a key")));
  refusal("nonsense");
}

TEST_F(IstioAuthorityTest, ATokenThatIsNotTheAgentsIsRefused) {
  write("accepts", "another");
  EXPECT_THAT(refusal("sign 3600"), HasSubstr("request authenticate failure"));
  write("accepts", kToken);
  IstioAuthority authority(access());
  const auto chain = sign(authority);
  EXPECT_TRUE(chain.ok()) << chain.status();
}

TEST_F(IstioAuthorityTest, AProblemIsOverWithTheNextGoodAnswer) {
  write("mode", "refuse");
  IstioAuthority authority(access());
  ASSERT_FALSE(sign(authority).ok());
  EXPECT_EQ(authority.problems().size(), 1u);
  write("mode", "sign 600");
  ASSERT_TRUE(sign(authority).ok());
  EXPECT_THAT(authority.problems(), IsEmpty());
}

TEST_F(IstioAuthorityTest, NobodyElseIsToldTheToken) {
  // A server whose certificate another authority signed.
  ControlAccess other = access();
  const test::Authority foreign = test::make_authority("foreign");
  write("foreign.crt", to_pem(foreign.certificate.get()));
  other.authority_file = folder_.file("foreign.crt");
  IstioAuthority authority(other);
  const auto chain = sign(authority);
  ASSERT_FALSE(chain.ok());
  EXPECT_THAT(std::string(chain.status().message()), HasSubstr("--ca-root signed its certificate"));
  EXPECT_THAT(istiod_->output(), Not(HasSubstr("authorization")));
}

TEST_F(IstioAuthorityTest, AMissingTokenSaysWhichFileItIs) {
  ControlAccess none = access();
  none.token_file = folder_.file("nothing");
  IstioAuthority authority(none);
  const auto chain = sign(authority);
  ASSERT_FALSE(chain.ok());
  EXPECT_THAT(std::string(chain.status().message()),
              AllOf(HasSubstr(none.token_file), HasSubstr("see --ca-root and --ca-token")));
}

}  // namespace
}  // namespace weft::control_plane
