// What keeps a request on its endpoint, and the cookie for those that have none, through a real worker.
#include "userspace-proxy/exchange/affinity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/strings.h"
#include "tests/unit/proxy-engine/rig.h"
#include "userspace-proxy/upstream/xx_hash.h"

namespace weft::proxy {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const SocketAddress kClient = *SocketAddress::parse("10.1.0.20:4321");

RequestHead request(std::string_view cookie, std::string_view query = "") {
  RequestHead head;
  head.authority = "cart:80";
  head.query = query;
  head.headers = {Header{"X-User", "jason"}, Header{"Cookie", cookie}};
  return head;
}

TEST(AffinityTest, TakesEachOfTheKeys) {
  const RequestHead head = request("a=1; user=\"me\"; b=2", "x=1&id=42");
  const auto of = [&](HashKey::Kind kind, std::string name) {
    return affinity_of(HashKey{.kind = kind, .name = std::move(name)}, head, kClient);
  };
  EXPECT_EQ(of(HashKey::Kind::kHeader, "x-user"), XxHash64::of("jason"));
  EXPECT_EQ(of(HashKey::Kind::kHeader, "host"), XxHash64::of("cart:80"));
  EXPECT_EQ(of(HashKey::Kind::kHeader, "x-other"), std::nullopt);
  EXPECT_EQ(of(HashKey::Kind::kCookie, "user"), XxHash64::of("me"));
  EXPECT_EQ(of(HashKey::Kind::kCookie, "b"), XxHash64::of("2"));
  EXPECT_EQ(of(HashKey::Kind::kCookie, "use"), std::nullopt);
  EXPECT_EQ(of(HashKey::Kind::kQueryParameter, "id"), XxHash64::of("42"));
  EXPECT_EQ(of(HashKey::Kind::kQueryParameter, "y"), std::nullopt);
  EXPECT_EQ(of(HashKey::Kind::kSourceIp, ""), affinity_of(HashKey{}, *SocketAddress::parse("10.1.0.20:1")));
  EXPECT_NE(of(HashKey::Kind::kSourceIp, ""), affinity_of(HashKey{}, *SocketAddress::parse("10.1.0.21:1")));
}

TEST(AffinityTest, ANewCookieHashesToWhatTheClientWillSend) {
  Random random(1);
  const HashKey key{
      .kind = HashKey::Kind::kCookie, .name = "user", .generates = true, .attributes = "; Path=/"};
  uint64_t hash = 0;
  const std::string cookie = new_cookie(key, random, &hash);
  EXPECT_THAT(cookie, ::testing::MatchesRegex("user=\"[0-9a-f]+\"; Path=/"));
  EXPECT_EQ(affinity_of(key, request(cookie.substr(0, cookie.find(';'))), kClient), hash);
}

// Four servers, each of which says its number.
class HashedRig {
 public:
  explicit HashedRig(const HashKey& key, Protocol protocol = Protocol::kHttp) {
    auto policy = std::make_shared<ClusterPolicy>();
    policy->balancing.algorithm = LoadBalancer::kRingHash;
    policy->balancing.table_size = 1024;
    policy->balancing.hash = key;
    TestCluster cluster{.name = "v1", .load_balancer = LoadBalancer::kRingHash, .policy = policy};
    for (int i = 0; i < 4; ++i) {
      servers_.push_back(std::make_unique<TestServer>(always(str_cat("server ", i))));
      cluster.endpoints.push_back(servers_.back()->address());
    }
    rig_ = std::make_unique<Rig>(Rig::Setup{.protocol = protocol, .clusters = {cluster}, .options = {}});
  }
  std::string get(std::string_view fields) {
    TestConnection client = rig_->connect();
    client.send(str_cat("GET / HTTP/1.1\r\nHost: a\r\n", fields, "\r\n"));
    return client.read_message();
  }
  static std::string body(const std::string& response) { return response.substr(response.rfind("\r\n") + 2); }

 private:
  std::vector<std::unique_ptr<TestServer>> servers_;
  std::unique_ptr<Rig> rig_;
};

TEST(AffinityTest, AHeaderKeepsItsServerAndManySpread) {
  HashedRig rig(HashKey{.kind = HashKey::Kind::kHeader, .name = "x-user"});
  std::set<std::string> seen;
  for (int user = 0; user < 200; ++user) {
    const std::string field = str_cat("X-User: ", user, "\r\n");
    const std::string first = rig.get(field);
    EXPECT_EQ(rig.get(field), first);
    EXPECT_EQ(rig.get(field), first);
    seen.insert(first);
  }
  EXPECT_EQ(seen.size(), 4u);
}

TEST(AffinityTest, AClientWithoutTheCookieGetsOneThatKeepsItThere) {
  HashedRig rig(HashKey{.kind = HashKey::Kind::kCookie,
                        .name = "user",
                        .generates = true,
                        .attributes = "; Max-Age=60; Path=/; HttpOnly"});
  for (int client = 0; client < 8; ++client) {
    const std::string first = rig.get("");
    EXPECT_THAT(first, HasSubstr("; Max-Age=60; Path=/; HttpOnly\r\n"));
    const size_t at = first.find("set-cookie: ") + 12;
    const std::string cookie = first.substr(at, first.find(';', at) - at);
    const std::string again = rig.get(str_cat("Cookie: ", cookie, "\r\n"));
    EXPECT_EQ(HashedRig::body(again), HashedRig::body(first));
    EXPECT_THAT(again, Not(HasSubstr("set-cookie")));
  }
}

TEST(AffinityTest, ASourceIsItsAddressAsItIsOnTheWire) {
  for (const char* text : {"10.1.2.3:5", "[2001:db8::1]:5"}) {
    const SocketAddress source = *SocketAddress::parse(text);
    EXPECT_EQ(affinity_of(HashKey{}, source), XxHash64::of(source.ip.packed()));
  }
}

TEST(AffinityTest, AConnectionOfTcpHashesItsSource) {
  HashedRig rig(HashKey{}, Protocol::kTcp);
  const std::string first = rig.get("");
  for (int i = 0; i < 8; ++i) EXPECT_EQ(rig.get(""), first);
}

}  // namespace
}  // namespace weft::proxy
