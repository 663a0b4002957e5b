// TLS that the proxy begins to servers outside the mesh, as examples/tls-origination says it: what a server
// of another language (tests/harness/tls_server.py) sees, and that nothing is sent where it is not the right
// one.
#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

#include "absl/strings/str_replace.h"
#include "base/strings.h"
#include "tests/harness/mesh_test.h"
#include "tests/unit/identity/pki.h"

namespace weft::harness {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kPython[] = "/usr/bin/python3";
constexpr char kScript[] = "tests/harness/tls_server.py";
constexpr char kHost[] = "api.partner.example";
constexpr char kUrl[] = "http://10.96.0.60/";

class OriginationTest : public MeshTest {
 protected:
  void SetUp() override {
    MeshTest::SetUp();
    if (HasFatalFailure()) return;
    auto pod = topology_->add_pod(2, "partner");
    ASSERT_TRUE(pod.ok()) << pod.status();
    partner_ = *pod;
    std::ifstream file("examples/tls-origination/routing.yaml");
    ASSERT_TRUE(file.is_open()) << "run from the root of the repository";
    std::stringstream text;
    text << file.rdbuf();
    mesh_->manifests().write("partner.yaml",
                             absl::StrReplaceAll(text.str(), {{"192.0.2.10", partner_.ip4.to_string()}}));
  }

  std::string write(const std::string& name, const std::string& text) const {
    std::string path = sandbox_->directory() + "/" + name;
    std::ofstream(path) << text;
    return path;
  }
  // The server, with this certificate, from now on; it wants one of clients of `theirs_`.
  void serve(const test::Leaf& leaf) {
    server_.reset();
    auto server = Process::start(
        in_pod(partner_, {kPython, kScript, "8443", write("server.crt", to_pem(leaf.certificate.get())),
                          write("server.key", test::key_pem(leaf.key.get())),
                          write("client-ca.crt", to_pem(theirs_.certificate.get()))}));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    ASSERT_TRUE(wait_for_port(partner_.netns, partner_.v4(8443), server_.get()).ok()) << server_->output();
  }
  static std::string block(const std::string& text) {
    return str_cat("|\n    ", absl::StrReplaceAll(text, {{"\n", "\n    "}}), "\n");
  }
  void give_secret(const test::Authority& ca) {
    const test::Leaf own = test::make_leaf(theirs_, {.names = {{GEN_DNS, "weft-client"}}});
    key_ = test::key_pem(own.key.get());
    mesh_->manifests().write(
        "secret.yaml",
        str_cat("apiVersion: v1\nkind: Secret\nmetadata: {name: partner-credential}\nstringData:\n",
                "  tls.crt: ", block(to_pem(own.certificate.get())), "  tls.key: ", block(key_),
                "  ca.crt: ", block(to_pem(ca.certificate.get()))));
  }
  std::string ask(const char* url = kUrl) {
    return curl(client_, {"-i", "--max-time", "5", "-H", str_cat("host: ", kHost), url}).output;
  }
  // Until it is so; what it is at last.
  std::string until(const std::string& wanted, const char* url = kUrl) {
    std::string out;
    wait_until(milliseconds(30'000), [&] {
      out = ask(url);
      return out.find(wanted) != std::string::npos;
    });
    return out;
  }
  test::Leaf server_leaf(const std::string& name = kHost, long to_seconds = 3600) const {
    return test::make_leaf(theirs_,
                           {.names = {{GEN_DNS, name}}, .from_seconds = -7200, .to_seconds = to_seconds});
  }

  const test::Authority theirs_ = test::make_authority("partner");
  Pod partner_;
  std::string key_;
  std::unique_ptr<Process> server_;
};

TEST_F(OriginationTest, AnApplicationSpeaksHttpAndTheServerSeesMutualTls) {
  ASSERT_NO_FATAL_FAILURE(serve(server_leaf()));
  EXPECT_THAT(until("x-weft-reason: tls_failed"), HasSubstr("HTTP/1.1 503"))
      << "there is no certificate yet: nothing is sent in clear" << mesh_->log();
  give_secret(theirs_);
  EXPECT_THAT(until("sni="), AllOf(HasSubstr(str_cat("sni=", kHost, "\n")), HasSubstr("client=weft-client\n"),
                                   HasSubstr("alpn=http/1.1\n"), HasSubstr("version=TLSv1.3\n")))
      << mesh_->log() << server_->output();
  // What is no HTTP to the mesh.
  EXPECT_THAT(until("sni=", "http://10.96.0.60:81/"),
              AllOf(HasSubstr(str_cat("sni=", kHost, "\n")), HasSubstr("alpn=-\n")))
      << mesh_->log();
  EXPECT_THAT(mesh_->log(), Not(HasSubstr(key_.substr(40, 40))));
}

TEST_F(OriginationTest, AServerThatIsNotTheRightOneGetsNothing) {
  give_secret(theirs_);
  ASSERT_NO_FATAL_FAILURE(serve(server_leaf()));
  ASSERT_THAT(until("sni="), HasSubstr("sni=")) << mesh_->log();
  const auto refused = [&](const test::Leaf& leaf, const std::string& fault) {
    ASSERT_NO_FATAL_FAILURE(serve(leaf));
    EXPECT_TRUE(wait_until(milliseconds(30'000),
                           [&] {
                             EXPECT_THAT(ask(), Not(HasSubstr("sni=")));
                             return mesh_->log().find("fault=" + fault) != std::string::npos;
                           }))
        << fault << mesh_->log();
  };
  const test::Authority other = test::make_authority("other");
  ASSERT_NO_FATAL_FAILURE(refused(server_leaf("another.example"), "wrong_name"));
  ASSERT_NO_FATAL_FAILURE(refused(server_leaf(kHost, -3600), "expired"));
  ASSERT_NO_FATAL_FAILURE(refused(test::make_leaf(other, {.names = {{GEN_DNS, kHost}}}), "untrusted"));
  EXPECT_THAT(mesh_->metrics(), HasSubstr("weft_outcomes_total{outcome=\"tls_failed\"}"));
  // The other authority is the right one from here on, without a restart.
  give_secret(other);
  EXPECT_THAT(until("sni="), HasSubstr("client=weft-client\n")) << mesh_->log();
}

}  // namespace
}  // namespace weft::harness
