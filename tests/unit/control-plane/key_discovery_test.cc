// The keys of issuers of tokens, fetched from a server of the test: a key set at its URL, and one that the
// issuer's own document names (OpenID Connect Discovery).
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <thread>

#include "base/fd.h"
#include "base/strings.h"
#include "control-plane/pipeline.h"
#include "control-plane/resource/key_source.h"
#include "control-plane/source/fetch_keys.h"
#include "control-plane/source/issuer_document.h"
#include "proto/weft/mesh/v1/request_authentication.pb.h"
#include "tests/unit/identity/tokens.h"

namespace weft::control_plane {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string& keys() {
  static const std::string set = test::jwk_set(test::jwk(test::ec_key("P-256").get()));
  return set;
}

// Answers each request by its path; what nobody gave is 404.
class Site {
 public:
  Site() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(listener_.get(), 16), 0);
    socklen_t length = sizeof(address);
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length);
    url_ = str_cat("http://127.0.0.1:", ntohs(address.sin_port));
  }
  ~Site() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    if (thread_.joinable()) thread_.join();
  }
  const std::string& url() const { return url_; }
  // Before start(). `head`: "200 OK", and further fields.
  void give(const std::string& path, const std::string& body, const std::string& head = "200 OK") {
    answers_[path] = str_cat("HTTP/1.1 ", head, "\r\nConnection: close\r\nContent-Length: ", body.size(),
                             "\r\n\r\n", body);
  }
  void start() {
    thread_ = std::thread([this] {
      for (;;) {
        const UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!client.valid()) return;
        serve(client.get());
      }
    });
  }

 private:
  void serve(int client) const {
    std::string asked;
    while (asked.find("\r\n\r\n") == std::string::npos) {
      char buffer[4096];
      const ssize_t n = ::recv(client, buffer, sizeof(buffer), 0);
      if (n <= 0) return;
      asked.append(buffer, static_cast<size_t>(n));
    }
    const size_t begin = asked.find(' ') + 1;
    const auto found = answers_.find(asked.substr(begin, asked.find(' ', begin) - begin));
    const std::string answer =
        found != answers_.end() ? found->second
                                : "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    for (size_t sent = 0; sent < answer.size();) {
      const ssize_t n = ::send(client, answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return;
      sent += static_cast<size_t>(n);
    }
  }

  const UniqueFd listener_;
  std::string url_;
  std::map<std::string, std::string> answers_;
  std::thread thread_;
};

std::string document(const std::string& issuer, const std::string& jwks_uri) {
  return str_cat(R"({"issuer":")", issuer, R"(","jwks_uri":")", jwks_uri,
                 R"(","response_types_supported":["code"],"claims_supported":["sub"]})");
}

// What went wrong; empty: nothing.
std::string problem_of(const std::string& source) {
  return std::string(fetch_keys(source).status().message());
}

TEST(FetchKeysTest, OnlyAWholeGoodSetIsTaken) {
  Site site;
  site.give("/keys", keys());
  site.give("/none", "{}");
  site.give("/gone", keys(), "404 Not Found");
  site.give("/elsewhere", keys(), "302 Found\r\nLocation: /keys");
  site.give("/long", std::string(300'000, ' '));
  site.start();
  const auto good = fetch_keys(site.url() + "/keys");
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_THAT(*good, ElementsAre(keys()));
  EXPECT_THAT(problem_of(site.url() + "/none"),
              AllOf(HasSubstr(site.url() + "/none: key set"), HasSubstr("; next: ")));
  EXPECT_THAT(problem_of(site.url() + "/gone"), HasSubstr("HTTP status 404; next: "));
  EXPECT_THAT(problem_of(site.url() + "/elsewhere"), HasSubstr("HTTP status 302; next: "));
  EXPECT_THAT(problem_of(site.url() + "/long"), HasSubstr("more than 262144 bytes; next: "));
  EXPECT_NE(problem_of("file:///etc/hostname"), "");
}

TEST(FetchKeysTest, TheIssuersDocumentNamesThem) {
  Site site;
  const std::string issuer = site.url() + "/tenant";
  site.give("/tenant/.well-known/openid-configuration", document(issuer, site.url() + "/keys"));
  site.give("/slash/.well-known/openid-configuration",
            document(site.url() + "/slash/", site.url() + "/keys"));
  site.give("/keys", keys());
  site.start();
  for (const std::string& each : {issuer, site.url() + "/slash/"}) {
    const auto found = fetch_keys(discovered_by(each));
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_THAT(*found, ElementsAre(keys()));
  }
}

TEST(FetchKeysTest, ADocumentThatIsOfNoUseIsNamedWithWhatToDo) {
  Site site;
  const auto at = [&](const char* name) { return str_cat("/", name, "/.well-known/openid-configuration"); };
  const auto issuer = [&](const char* name) { return str_cat(site.url(), "/", name); };
  site.give(at("moved"), document(issuer("moved"), site.url() + "/keys"), "301 Moved\r\nLocation: /keys");
  site.give(at("long"), std::string(300'000, ' '));
  site.give(at("html"), "<html>login</html>");
  site.give(at("list"), "[]");
  site.give(at("other"), document("https://other.example", site.url() + "/keys"));
  site.give(at("silent"), str_cat(R"({"issuer":")", issuer("silent"), R"("})"));
  site.give(at("file"), document(issuer("file"), "file:///etc/passwd"));
  site.give(at("empty"), document(issuer("empty"), site.url() + "/nothing"));
  site.give("/keys", keys());
  site.start();
  const std::pair<const char*, const char*> rows[] = {
      {"absent", "HTTP status 404; next: see that this node can get it"},
      {"moved", "HTTP status 301; next: "},
      {"long", "more than 262144 bytes; next: give the keys in jwks"},
      {"html", "it is no JSON ("},
      {"list", "it is no JSON object; next: "},
      {"other", "it is of another issuer, \"https://other.example\"; next: write that as the issuer"},
      {"silent", "it names no jwks_uri; next: give jwksUri"},
      {"file", "its jwks_uri \"file:///etc/passwd\" is no http or https URL; next: give jwksUri"}};
  for (const auto& [name, problem] : rows) {
    EXPECT_THAT(problem_of(discovered_by(issuer(name))),
                AllOf(HasSubstr(site.url() + at(name) + ": "), HasSubstr(problem)));
  }
  EXPECT_THAT(problem_of(discovered_by(issuer("empty"))),
              HasSubstr(site.url() + "/nothing: HTTP status 404"));
}

TEST(IssuerDocumentTest, IsReadStrictly) {
  constexpr char kIssuer[] = "https://a";
  const auto url = jwks_uri_of(document(kIssuer, "https://b/keys"), kIssuer);
  ASSERT_TRUE(url.ok()) << url.status();
  EXPECT_EQ(*url, "https://b/keys");
  for (const std::string& bad :
       {document(kIssuer, "http://b/keys"), document("https://a/", "https://b/keys"),
        document("https://A", "https://b/keys"), document("", "https://b/keys"), document(kIssuer, ""),
        document(kIssuer, "https://u:p@b/keys"), document(kIssuer, "https:///keys"),
        document(kIssuer, "https://b/ keys"), document(kIssuer, "https://b/" + std::string(3'000, 'k')),
        std::string(R"({"issuer":["https://a"],"jwks_uri":"https://b/keys"})"),
        std::string(R"({"issuer":"https://a","jwks_uri":"https://b","jwks_uri":"https://c"})"), std::string(),
        document(kIssuer, "https://b/keys") + "x"}) {
    EXPECT_FALSE(jwks_uri_of(bad, kIssuer).ok()) << bad;
  }
  // Whatever stands there, nothing of it moves a terminal or breaks a message.
  const auto other = jwks_uri_of("{\"issuer\":\"https://\\u001b[2J\\u009b\",\"jwks_uri\":\"\"}", kIssuer);
  ASSERT_FALSE(other.ok());
  for (const char c : other.status().message()) EXPECT_GE(c, 0x20);
}

// What a mesh makes of a RequestAuthentication whose rule says nothing but who the issuer is.
class DiscoveredKeysTest : public testing::Test {
 protected:
  // Of the first change.
  void compile(const std::string& issuer) {
    const std::string manifest =
        str_cat("apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: r, ",
                "namespace: shop}\nspec: {jwtRules: [{issuer: '", issuer, "'}]}\n");
    Pipeline pipeline("node1", fetch_keys, [this](const Change& change) {
      findings_ = change.findings;
      for (const Resource& resource : change.upserted) {
        if (resource.name() != "shop/r") continue;
        EXPECT_TRUE(resource.decode(&compiled_));
      }
    });
    pipeline.update({{"a.yaml", parse_file("a.yaml", manifest)}});
    pipeline.stop();
  }

  mesh::v1::RequestAuthentication compiled_;
  std::vector<Finding> findings_;
};

TEST_F(DiscoveredKeysTest, TheFirstConfigurationHasThem) {
  Site site;
  site.give("/.well-known/openid-configuration", document(site.url(), site.url() + "/keys"));
  site.give("/keys", keys());
  site.start();
  compile(site.url());
  ASSERT_EQ(compiled_.rules_size(), 1);
  EXPECT_EQ(compiled_.rules(0).jwks(), keys());
  EXPECT_THAT(findings_, IsEmpty());
}

TEST_F(DiscoveredKeysTest, AFindingSaysWhyThereAreNone) {
  Site site;
  site.give("/.well-known/openid-configuration", document("https://other", site.url() + "/keys"));
  site.start();
  compile(site.url());
  ASSERT_EQ(compiled_.rules_size(), 1);
  EXPECT_EQ(compiled_.rules(0).jwks(), "") << "no token of the issuer is good";
  ASSERT_EQ(findings_.size(), 1U);
  EXPECT_EQ(findings_[0].code, "WF0060");
  EXPECT_EQ(findings_[0].field, "spec.jwtRules[0].issuer");
  EXPECT_THAT(findings_[0].message, AllOf(HasSubstr("tokens of the issuer are refused"),
                                          HasSubstr(site.url() + "/.well-known/openid-configuration"),
                                          HasSubstr("of another issuer, \"https://other\"")));
  EXPECT_THAT(findings_[0].remedy, HasSubstr("or give jwksUri"));
}

}  // namespace
}  // namespace weft::control_plane
