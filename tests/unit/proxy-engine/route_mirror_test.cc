// Mirrored requests through a real worker: the copy arrives whole, and nobody waits for what becomes of it.
// CORS as browsers see it stands here too: both need a route that forwards and does something besides.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>

#include "tests/unit/proxy-engine/route_rig.h"
#include "userspace-proxy/exchange/mirror.h"

namespace weft::proxy {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// Keeps the requests it gets, and answers them.
class ShadowServer {
 public:
  explicit ShadowServer(bool answers = true)
      : answers_(answers), server_([this](TestConnection& c) { serve(c); }) {}
  const SocketAddress& address() const { return server_.address(); }
  // The first `count` of them, waited for at most five seconds.
  std::vector<std::string> wait(size_t count) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(5), [&] { return requests_.size() >= count; });
    return requests_;
  }

 private:
  void serve(TestConnection& c) {
    for (std::string request = c.read_message(); !request.empty(); request = c.read_message()) {
      {
        std::lock_guard<std::mutex> lock(mutex_);
        requests_.push_back(std::move(request));
      }
      changed_.notify_all();
      if (answers_ && !c.send(ok_response("dropped"))) return;
    }
  }
  const bool answers_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> requests_;
  TestServer server_;
};

std::vector<TestCluster> shadow_cluster(const SocketAddress& address) {
  return {TestCluster{.name = "shadow", .endpoints = {address}}};
}

constexpr char kMirrorAll[] = "mirrors{destination{host:'shadow' weight:1} ppm:1000000}";

TEST(RouteMirrorTest, ACopyOfTheRequestGoesToTheMirror) {
  ShadowServer shadow;
  RouteRig mesh(str_cat("http{path_rewrite{matched:'/v2/'} ", kMirrorAll, kTo, "}"),
                shadow_cluster(shadow.address()));
  EXPECT_THAT(mesh.get("/a?b", "X-Kept: 1\r\n"), EndsWith("ok"));
  EXPECT_EQ(shadow.wait(1).at(0), "GET /v2/a?b HTTP/1.1\r\nHost: service-shadow\r\nX-Kept: 1\r\n\r\n");
  EXPECT_EQ(mesh.seen(), "GET /v2/a?b HTTP/1.1\r\nHost: service\r\nX-Kept: 1\r\n\r\n");
  EXPECT_EQ(mesh.rig().sink().wait(1).size(), 1u);
}

TEST(RouteMirrorTest, ABodyIsCopiedWithItsLength) {
  ShadowServer shadow;
  RouteRig mesh(str_cat("http{", kMirrorAll, kTo, "}"), shadow_cluster(shadow.address()));
  mesh.send(
      "POST / HTTP/1.1\r\nHost: service\r\nTransfer-Encoding: "
      "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  EXPECT_EQ(shadow.wait(1).at(0),
            "POST / HTTP/1.1\r\nHost: service-shadow\r\ncontent-length: 5\r\n\r\nabcde");
}

TEST(RouteMirrorTest, ABodyThatIsTooLargeToKeepIsNotCopied) {
  ShadowServer shadow;
  RouteRig mesh(str_cat("http{", kMirrorAll, kTo, "}"), shadow_cluster(shadow.address()));
  const std::string body(100'000, 'x');
  EXPECT_THAT(mesh.send(str_cat("POST / HTTP/1.1\r\nHost: service\r\nContent-Length: 100000\r\n\r\n", body)),
              EndsWith("ok"));
  // What comes first at the mirror is the next request.
  mesh.get("/next");
  EXPECT_THAT(shadow.wait(1).at(0), StartsWith("GET /next"));
}

TEST(RouteMirrorTest, MirrorsThatHangRefuseOrDoNotExistHarmNobody) {
  ShadowServer hanging(false);
  RouteRig mesh(str_cat("http{", kMirrorAll, " mirrors{destination{host:'refused' weight:1} ppm:1000000} ",
                        "mirrors{destination{host:'unknown' weight:1} ppm:1000000}", kTo, "}"),
                {TestCluster{.name = "shadow", .endpoints = {hanging.address()}},
                 TestCluster{.name = "refused", .endpoints = {refused_address()}}});
  for (int i = 0; i < 5; ++i) EXPECT_THAT(mesh.get("/"), EndsWith("ok"));
  EXPECT_EQ(hanging.wait(5).size(), 5u);
  // The worker ends although mirrors are under way.
  mesh.rig().stop();
}

TEST(RouteMirrorTest, SharesAreDrawn) {
  ShadowServer shadow;
  RouteRig mesh(str_cat("http{mirrors{destination{host:'shadow' weight:1} ppm:250000}", kTo, "}"),
                shadow_cluster(shadow.address()));
  TestConnection client = mesh.rig().connect();
  for (int i = 0; i < 2000; ++i) {
    client.send("GET / HTTP/1.1\r\nHost: service\r\n\r\n");
    client.read_message();
  }
  // Six standard deviations; the last copies may be on their way.
  const size_t copies = shadow.wait(383).size();
  EXPECT_GE(copies, 383u);
  EXPECT_LE(copies, 617u);
}

TEST(RouteMirrorTest, ShadowHostsKeepTheirPort) {
  for (const auto& [authority, expected] : std::vector<std::pair<std::string, std::string>>{
           {"cart", "cart-shadow"}, {"cart:80", "cart-shadow:80"}, {"[fd00::1]:80", "[fd00::1]-shadow:80"}}) {
    std::string out;
    append_shadow_authority(authority, &out);
    EXPECT_EQ(out, expected);
  }
}

constexpr char kCors[] =
    "http{cors{allow_origins{exact:'http://shop'} allow_methods:'GET,PUT' max_age:'60' "
    "expose_headers:'x-up'}";

TEST(RouteCorsTest, APreflightIsAnsweredByTheProxy) {
  RouteRig mesh(str_cat(kCors, kTo, "}"));
  const std::string preflight =
      "OPTIONS / HTTP/1.1\r\nHost: service\r\nAccess-Control-Request-Method: PUT\r\nOrigin: ";
  const std::string answer = mesh.send(preflight + "http://shop\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("access-control-allow-origin: http://shop\r\n"));
  EXPECT_THAT(answer, HasSubstr("access-control-allow-methods: GET,PUT\r\n"));
  EXPECT_THAT(answer, HasSubstr("access-control-max-age: 60\r\n"));
  EXPECT_EQ(mesh.requests(), 0);
  EXPECT_EQ(mesh.rig().sink().wait(1).at(0).outcome, Outcome::kCorsPreflight);
  EXPECT_THAT(mesh.send(preflight + "http://other\r\n\r\n"), Not(HasSubstr("access-control")));
  EXPECT_EQ(mesh.requests(), 1) << "of another origin it goes to the server";
}

TEST(RouteCorsTest, ResponsesToAnAllowedOriginSaySo) {
  RouteRig mesh(str_cat(kCors, kTo, "}"));
  const std::string answer = mesh.get("/", "Origin: http://shop\r\n");
  EXPECT_THAT(answer, HasSubstr("access-control-allow-origin: http://shop\r\n"));
  EXPECT_THAT(answer, HasSubstr("access-control-expose-headers: x-up\r\n"));
  EXPECT_THAT(mesh.get("/", "Origin: http://other\r\n"), Not(HasSubstr("access-control")));
  EXPECT_THAT(mesh.get("/"), Not(HasSubstr("access-control")));
}

TEST(RouteCorsTest, AnswersOfTheProxySaySoToo) {
  RouteRig mesh(str_cat(kCors, " direct_response{status:200 body:'x'}}"));
  EXPECT_THAT(mesh.get("/", "Origin: http://shop\r\n"),
              HasSubstr("access-control-allow-origin: http://shop\r\n"));
}

}  // namespace
}  // namespace weft::proxy
