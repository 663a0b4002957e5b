// A machine without Kubernetes and weft-control with a folder of manifests, over TLS on loopback: it joins by
// a token, is told of the mesh by the certificate that it got, gets certificates for its pods and renews its
// own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/strings.h"
#include "control-plane/remote/node_certificate.h"
#include "control-plane/remote/remote_control_plane.h"
#include "control-plane/serve/control_server.h"
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

constexpr char kWeb[] = "spiffe://cluster.local/ns/shop/sa/web";
constexpr char kDatabase[] = "spiffe://cluster.local/ns/shop/sa/db";

std::string pod(const std::string& name, const std::string& node, const std::string& ip) {
  return str_cat("apiVersion: v1\nkind: Pod\nmetadata:\n  name: ", name,
                 "\n  namespace: shop\n  labels: {istio.io/dataplane-mode: ambient}\nspec:\n  nodeName: ",
                 node, "\n  serviceAccountName: ", name,
                 "\n  containers: [{name: c}]\nstatus: {phase: Running, podIP: ", ip, "}\n---\n");
}

class JoinServerTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(folder_.file("manifests"));
    std::ofstream(folder_.file("manifests/pods.yaml"))
        << pod("web", "node1", "10.0.0.1") << pod("db", "node2", "10.0.0.2");
    serve();
  }
  void TearDown() override { server_.reset(); }

  void serve() {
    ControlServer::Options options{.address = *SocketAddress::parse(str_cat("127.0.0.1:", port_.number())),
                                   .metrics_address = *SocketAddress::parse("127.0.0.1:0"),
                                   .health_address = *SocketAddress::parse("127.0.0.1:0"),
                                   .certificate = {.names = {"127.0.0.1"}, .folder = folder_.file("run")}};
    ControlServer::Parts parts;
    parts.authority = *CertificateAuthority::open({.folder = folder_.file("ca")}, absl::Now());
    auto desk = JoinDesk::open({.folder = store_.folder()});
    ASSERT_TRUE(desk.ok()) << desk.status();
    parts.join = *std::move(desk);
    parts.start_control_plane = [this](ControlPlane::Subscriber subscriber) {
      return ControlPlane::start({.config_dir = folder_.file("manifests"), .node_name = kAllNodes},
                                 std::move(subscriber));
    };
    auto server = ControlServer::start(std::move(options), std::move(parts));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  ControlAccess access() const {
    return {.target = str_cat("127.0.0.1:", port_.number()), .authority_file = folder_.file("ca/ca.crt")};
  }
  ControlAccess access_by(const NodeCertificate& certificate) const {
    ControlAccess out = access();
    out.certificate_file = out.key_file = certificate.file();
    return out;
  }
  NodeCertificate::Options options(const std::string& node, const std::string& token) {
    const std::string file = folder_.file("token-" + node);
    std::ofstream(file) << token << "\n";
    ::chmod(file.c_str(), 0600);
    return {
        .access = access(), .node_name = node, .token_file = file, .folder = folder_.file("state-" + node)};
  }
  std::string token(const std::string& node) {
    auto made = store_.create(node, absl::Hours(1), absl::Now());
    EXPECT_TRUE(made.ok()) << made.status();
    return made.ok() ? *made : "";
  }
  std::unique_ptr<NodeCertificate> join(const std::string& node) {
    auto joined = NodeCertificate::open(options(node, token(node)));
    EXPECT_TRUE(joined.ok()) << joined.status();
    return joined.ok() ? *std::move(joined) : nullptr;
  }
  absl::Status sign(const ControlAccess& by, const std::string& id) {
    ControlChannel channel(by);
    const KeyPtr key = test::p256_key();
    return sign_remotely(channel, test::request_pem(key.get(), {.names = {{GEN_URI, id}}}), id,
                         absl::Hours(1))
        .status();
  }
  // Pods that a node is told to be its own; the error of who is told nothing.
  absl::StatusOr<std::vector<std::string>> pods_told(const ControlAccess& by, const std::string& node) {
    std::vector<std::string> names;
    auto started = start_remote({.access = by,
                                 .node_name = node,
                                 .first_limit = std::chrono::milliseconds(5'000),
                                 .backoff_min = std::chrono::milliseconds(10),
                                 .backoff_max = std::chrono::milliseconds(100)},
                                [&names](const Change& change) {
                                  names.clear();
                                  for (const LocalPod& each : change.local_pods) names.push_back(each.name);
                                });
    if (!started.ok()) return started.status();
    started->reset();
    return names;
  }
  std::string metrics() const {
    const std::string out = folder_.file("metrics");
    const std::string command =
        str_cat("curl -s http://", server_->metrics_address().to_string(), "/metrics > ", out);
    EXPECT_EQ(std::system(command.c_str()), 0);
    std::stringstream text;
    text << std::ifstream(out).rdbuf();
    return text.str();
  }

  const weft::test::ScratchFolder folder_;
  const harness::ReservedPort port_;
  const TokenStore store_{folder_.file("join")};
  std::unique_ptr<ControlServer> server_;
};

TEST_F(JoinServerTest, AMachineJoinsIsToldOfTheMeshAndGetsItsPodsCertificates) {
  const auto node = join("node1");
  ASSERT_NE(node, nullptr);
  const auto pods = pods_told(access_by(*node), "node1");
  ASSERT_TRUE(pods.ok()) << pods.status();
  EXPECT_THAT(*pods, ElementsAre("web"));
  EXPECT_TRUE(sign(access_by(*node), kWeb).ok()) << sign(access_by(*node), kWeb);
  EXPECT_FALSE(sign(access_by(*node), kDatabase).ok()) << "of another node's pod";
  EXPECT_FALSE(pods_told(access_by(*node), "node2").ok()) << "under another node's name";
  struct stat st{};
  ASSERT_EQ(::stat(node->file().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  EXPECT_THAT(metrics(), HasSubstr("weft_control_joins_total{result=\"joined\"} 1\n"));
}

TEST_F(JoinServerTest, AReplayedJoinTokenIsRefused) {
  const std::string text = token("node1");
  ASSERT_TRUE(NodeCertificate::open(options("node1", text)).ok());
  NodeCertificate::Options thief = options("node1", text);
  thief.folder = folder_.file("elsewhere");
  const auto again = NodeCertificate::open(thief);
  ASSERT_FALSE(again.ok());
  EXPECT_THAT(std::string(again.status().message()),
              AllOf(HasSubstr("the join token was used already, and counts once"), Not(HasSubstr(text))));
  EXPECT_FALSE(std::filesystem::exists(thief.folder + "/node.pem"));
  EXPECT_THAT(metrics(), HasSubstr("weft_control_joins_total{result=\"replayed\"} 1\n"));
}

TEST_F(JoinServerTest, ATokenProvesNothingButTheJoin) {
  const std::string file = folder_.file("bearer");
  std::ofstream(file) << token("node1");
  ControlAccess by = access();
  by.token_file = file;
  const absl::Status signature = sign(by, kWeb);
  EXPECT_TRUE(absl::IsUnauthenticated(signature)) << signature;
  EXPECT_THAT(std::string(signature.message()), HasSubstr("--join-token-file"));
  EXPECT_FALSE(pods_told(by, "node1").ok());
  EXPECT_FALSE(sign(access(), kWeb).ok()) << "nothing at all";
}

TEST_F(JoinServerTest, ACertificateIsKeptOverRestartsAndRenewedWithANewKey) {
  const NodeCertificate::Options kept = options("node1", token("node1"));
  const auto text_of = [&] {
    std::stringstream text;
    text << std::ifstream(kept.folder + "/node.pem").rdbuf();
    return text.str();
  };
  std::string before;
  {
    const auto first = NodeCertificate::open(kept);
    ASSERT_TRUE(first.ok()) << first.status();
    before = text_of();
  }
  // Nobody asks for a token; a server that is away asks for nothing either.
  std::filesystem::remove(kept.token_file);
  server_.reset();
  ASSERT_TRUE(NodeCertificate::open(kept).ok());
  EXPECT_EQ(text_of(), before);
  serve();
  const auto second = NodeCertificate::open(kept);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_NE(text_of(), before) << "renewed at the start";
  before = text_of();
  ASSERT_TRUE((*second)->renew().ok());
  EXPECT_NE(text_of(), before);
  EXPECT_NE(text_of().substr(text_of().find("PRIVATE KEY")), before.substr(before.find("PRIVATE KEY")));
  EXPECT_TRUE(sign(access_by(**second), kWeb).ok());
  EXPECT_THAT((*second)->problems(), IsEmpty());
}

TEST_F(JoinServerTest, HalfOfItsLifeLaterACertificateRenewsItself) {
  const NodeCertificate::Options kept = options("node1", token("node1"));
  ASSERT_TRUE(NodeCertificate::open(kept).ok());
  // By the clock of the next process what it gets at its start has ten seconds left, so half is soon.
  NodeCertificate::Options later = kept;
  later.now = [] { return absl::Now() + absl::Hours(24) - absl::Seconds(10); };
  const auto renewed = NodeCertificate::open(later);
  ASSERT_TRUE(renewed.ok()) << renewed.status();
  const auto written = std::filesystem::last_write_time(kept.folder + "/node.pem");
  EXPECT_TRUE(harness::wait_until(harness::milliseconds(20'000), [&] {
    return std::filesystem::last_write_time(kept.folder + "/node.pem") != written;
  }));
}

TEST_F(JoinServerTest, ARemovedNodeIsToldNothingMoreAndSaysWhy) {
  const auto node = join("node1");
  ASSERT_NE(node, nullptr);
  ASSERT_TRUE(*store_.remove("node1"));
  const absl::Status signature = sign(access_by(*node), kWeb);
  EXPECT_TRUE(absl::IsUnauthenticated(signature)) << signature;
  EXPECT_THAT(std::string(signature.message()), HasSubstr("was removed"));
  EXPECT_FALSE(pods_told(access_by(*node), "node1").ok());
  EXPECT_FALSE(node->renew().ok());
}

TEST_F(JoinServerTest, ANodeThatWasRemovedJoinsAnewByTheTokenOfItsFile) {
  const auto node = join("node1");
  ASSERT_NE(node, nullptr);
  ASSERT_TRUE(*store_.remove("node1"));
  const absl::Status refused = node->renew();
  EXPECT_THAT(
      std::string(refused.message()),
      AllOf(HasSubstr("was removed"), HasSubstr("nor by the join token: "), HasSubstr("used already")));
  options("node1", token("node1"));  // into the file of the one before
  const absl::Status renewed = node->renew();
  EXPECT_TRUE(renewed.ok()) << renewed;
  EXPECT_TRUE(sign(access_by(*node), kWeb).ok());
}

TEST_F(JoinServerTest, ANodeThatWasRemovedWhileItWasOffJoinsAnewAtItsStart) {
  ASSERT_NE(join("node1"), nullptr);
  ASSERT_TRUE(*store_.remove("node1"));
  NodeCertificate::Options without = options("node1", "");
  std::filesystem::remove(without.token_file);
  const auto refused = NodeCertificate::open(without);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(std::string(refused.status().message()),
              AllOf(HasSubstr("node node1 was removed"), HasSubstr("its join token cannot be read")));
  const auto joined = NodeCertificate::open(options("node1", token("node1")));
  ASSERT_TRUE(joined.ok()) << joined.status();
  EXPECT_TRUE(sign(access_by(**joined), kWeb).ok());
}

TEST_F(JoinServerTest, AFileThatOthersCanReadIsNoTokenFile) {
  NodeCertificate::Options open = options("node1", token("node1"));
  ASSERT_EQ(::chmod(open.token_file.c_str(), 0644), 0);
  const auto refused = NodeCertificate::open(open);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr(str_cat("chmod 0600 ", open.token_file)));
}

TEST_F(JoinServerTest, AnotherNodesCertificateIsNotUsed) {
  const auto first = join("node1");
  ASSERT_NE(first, nullptr);
  NodeCertificate::Options other = options("node2", token("node2"));
  other.folder = folder_.file("state-node1");
  const auto second = NodeCertificate::open(other);
  ASSERT_TRUE(second.ok()) << second.status();
  const auto pods = pods_told(access_by(**second), "node2");
  ASSERT_TRUE(pods.ok()) << pods.status();
  EXPECT_THAT(*pods, ElementsAre("db"));
}

TEST_F(JoinServerTest, AWorkloadsCertificateIsNoNodes) {
  // Of the mesh's own authority, with a subject as a node's.
  const auto root = read_certificates([this] {
    std::stringstream text;
    text << std::ifstream(folder_.file("ca/ca.crt")).rdbuf();
    return text.str();
  }());
  ASSERT_TRUE(root.ok());
  const auto mesh = CertificateAuthority::open({.folder = folder_.file("ca")}, absl::Now());
  ASSERT_TRUE(mesh.ok());
  const KeyPtr key = test::p256_key();
  const auto chain = (*mesh)->sign_node(key.get(), "node1", absl::Now());
  ASSERT_TRUE(chain.ok()) << chain.status();
  std::ofstream(folder_.file("forged.pem")) << *chain << test::key_pem(key.get());
  ControlAccess by = access();
  by.certificate_file = by.key_file = folder_.file("forged.pem");
  EXPECT_FALSE(sign(by, kWeb).ok());
}

}  // namespace
}  // namespace weft::control_plane
