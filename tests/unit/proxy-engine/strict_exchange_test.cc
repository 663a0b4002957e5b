// Strictness through a whole exchange: the path that is matched, forwarded and recorded is one path, and an
// upstream that frames a response in two ways spoils that response only.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/unit/proxy-engine/rig.h"

namespace weft::proxy {
namespace {

// Answers with its name and the request line that it got.
TestServer::Handler named(std::string_view name) {
  return [name](TestConnection& connection) {
    while (true) {
      const std::string request = connection.read_message();
      if (request.empty()) return;
      connection.send(ok_response(str_cat(name, ": ", request.substr(0, request.find('\r')))));
    }
  };
}

// Two services; what begins with /admin goes to the second.
class StrictPathTest : public testing::Test {
 protected:
  void use(PathNormalisation level) {
    const auto snapshot = std::make_shared<Snapshot>(*rig_.make_snapshot(clusters(), ++generation_));
    snapshot->path_normalisation = level;
    const auto host = std::make_shared<VirtualHost>(*snapshot->virtual_hosts.front());
    snapshot->virtual_hosts.front() = host;
    std::vector<Route>& routes = host->routes;
    routes.front().clusters = {WeightedCluster{.cluster = 0}};
    routes.front().total_weight = 1;
    Route admin{.name = "admin", .clusters = {WeightedCluster{.cluster = 1}}, .total_weight = 1};
    admin.matches = admin_matches_;
    routes.insert(routes.begin(), std::move(admin));
    rig_.use(snapshot);
  }

  std::vector<TestCluster> clusters() const {
    return {{.name = "public", .endpoints = {public_.address()}},
            {.name = "admin", .endpoints = {admin_.address()}}};
  }

  // The body of the answer; the whole answer when it is an error.
  std::string ask(std::string_view target) {
    TestConnection client = rig_.connect();
    client.send(str_cat("GET ", target, " HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\r\n"));
    const std::string answer = client.read_to_end();
    return answer.starts_with("HTTP/1.1 200") ? answer.substr(answer.find("\r\n\r\n") + 4) : answer;
  }

  TestServer public_{named("public")}, admin_{named("admin")};
  Rig rig_{Rig::Setup{.clusters = clusters()}};
  const std::vector<HttpMatcher> admin_matches_{
      HttpMatcher{.uri = {.kind = StringMatcher::Kind::kPrefix, .text = "/admin"}}};
  uint64_t generation_ = 1;
};

TEST_F(StrictPathTest, APathIsMatchedForwardedAndRecordedInOneSpelling) {
  use(PathNormalisation::kBase);
  EXPECT_EQ(ask("/public/../%61dmin/x?next=/../%41"), "admin: GET /admin/x?next=/../%41 HTTP/1.1");
  EXPECT_EQ(rig_.sink().wait(1).back().path, "/admin/x");
  EXPECT_EQ(ask("/admin/%2e%2e/public"), "public: GET /public HTTP/1.1");
  EXPECT_EQ(ask("http://service/x/..\\admin"), "admin: GET /admin HTTP/1.1");
}

TEST_F(StrictPathTest, TheLevelOfTheSnapshotDecides) {
  use(PathNormalisation::kNone);
  EXPECT_EQ(ask("/x/../admin"), "public: GET /x/../admin HTTP/1.1");
  use(PathNormalisation::kBase);
  EXPECT_EQ(ask("//admin"), "public: GET //admin HTTP/1.1");
  use(PathNormalisation::kMergeSlashes);
  EXPECT_EQ(ask("//admin"), "admin: GET /admin HTTP/1.1");
  EXPECT_EQ(ask("/x%2f..%2fadmin"), "public: GET /x%2f..%2fadmin HTTP/1.1");
  use(PathNormalisation::kDecodeAndMergeSlashes);
  EXPECT_EQ(ask("/x%2f..%2fadmin"), "admin: GET /admin HTTP/1.1");
}

TEST_F(StrictPathTest, APathThatServersReadInTwoWaysIsRefused) {
  use(PathNormalisation::kBase);
  for (const std::string_view path : {"/admin%00", "/%", "/%zz"}) {
    EXPECT_TRUE(ask(path).starts_with("HTTP/1.1 400 Bad Request\r\nx-weft-reason: bad_request")) << path;
  }
}

TEST(StrictResponseTest, AnEmptyResponseThatAnnouncesContentIsTheLastOfItsConnection) {
  TestServer server([](TestConnection& connection) {
    connection.read_message();
    connection.send("HTTP/1.1 204 No Content\r\nContent-Length: 38\r\n\r\n");
    // What would be the answer to the next request.
    connection.read_end();
  });
  Rig rig(Rig::Setup{.clusters = {{.name = "odd", .endpoints = {server.address()}}}});
  TestConnection client = rig.connect();
  for (int i = 0; i < 2; ++i) {
    client.send("GET / HTTP/1.1\r\nHost: service\r\n\r\n");
    EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 204 No Content\r\n\r\n");
  }
  EXPECT_EQ(server.connections(), 2);
}

TEST(StrictResponseTest, AResponseThatIsFramedInTwoWaysBecomes502) {
  for (const std::string_view head :
       {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 103 Hints\r\nContent-Length: 2\r\n\r\n"}) {
    TestServer server([head](TestConnection& connection) {
      connection.read_message();
      connection.send(str_cat(head, "ok"));
      connection.read_end();
    });
    Rig rig(Rig::Setup{.clusters = {{.name = "odd", .endpoints = {server.address()}}}});
    EXPECT_TRUE(rig.get().starts_with("HTTP/1.1 502 Bad Gateway\r\nx-weft-reason: upstream_protocol"))
        << head;
  }
}

}  // namespace
}  // namespace weft::proxy
