// Traffic rules of routes through a real worker: redirects, direct answers, rewrites, header edits. The
// pure parts have their own tests; here the two messages are looked at as client and server see them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/proxy-engine/http2_wire.h"
#include "tests/unit/proxy-engine/route_rig.h"

namespace weft::proxy {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// One request of an HTTP/2 client.
class Http2Asker {
 public:
  explicit Http2Asker(const Rig& rig)
      : connection(rig.connect()), wire(Http2Session::Role::kClient, connection) {
    wire.mine = &answer;
  }
  void ask(const std::vector<Header>& fields, std::string_view method = "GET") {
    Http2Fields out = request_fields(method, "/a?b");
    for (const Header& field : fields) out.add(field.name, field.value);
    ASSERT_TRUE(wire.peer.session->send_request(answer, out, true));
    EXPECT_TRUE(wire.turn_until([this] { return !answer.closed.empty(); }));
  }

  TestConnection connection;
  RecordingStream answer;
  WirePeer wire;
};

TEST(RouteActionTest, ARedirectIsAnsweredWithoutAnUpstream) {
  RouteRig mesh("http{redirect{path:'/new' authority:'shop.example' code:302}}");
  const std::string answer = mesh.get("/old?q=1");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 302 Found\r\n"));
  EXPECT_THAT(answer, HasSubstr("location: http://shop.example/new?q=1\r\n"));
  EXPECT_THAT(answer, HasSubstr("x-weft-reason: redirect\r\n"));
  EXPECT_THAT(answer, HasSubstr("content-length: 0\r\n"));
  EXPECT_EQ(mesh.requests(), 0);
  const SeenRecord record = mesh.rig().sink().wait(1).at(0);
  EXPECT_EQ(record.outcome, Outcome::kRedirect);
  EXPECT_EQ(record.status, 302);
  EXPECT_EQ(record.path, "/old");
}

TEST(RouteActionTest, ADirectResponseHasItsBodyAndTheRoutesHeaders) {
  RouteRig mesh(
      "http{direct_response{status:403 body:'short'} response_headers{edits{name:'content-type' "
      "value{parts{literal:'application/json'}}}}}");
  TestConnection client = mesh.rig().connect();
  // The connection goes on after it.
  for (int i = 0; i < 3; ++i) {
    client.send("GET / HTTP/1.1\r\nHost: service\r\n\r\n");
    const std::string answer = client.read_message();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 403 Forbidden\r\n"));
    EXPECT_THAT(answer, HasSubstr("content-type: application/json\r\n"));
    EXPECT_THAT(answer, EndsWith("content-length: 5\r\n\r\nshort"));
  }
  EXPECT_EQ(mesh.rig().sink().wait(3).at(2).outcome, Outcome::kDirectResponse);
}

TEST(RouteActionTest, ALargeDirectResponseComesWhole) {
  const std::string body(1024 * 1024, 'x');
  RouteRig mesh(str_cat("http{direct_response{status:200 body:'", body, "'}}"));
  EXPECT_THAT(mesh.get("/"), EndsWith(body));
}

TEST(RouteActionTest, ADirectResponseToHeadOrWithoutContentHasNoBody) {
  RouteRig mesh(
      "http{matches{uri{exact:'/none'}} direct_response{status:204 body:'x'}} "
      "http{direct_response{status:200 body:'abc'}}");
  const std::string none = mesh.get("/none");
  EXPECT_THAT(none, StartsWith("HTTP/1.1 204"));
  EXPECT_THAT(none, Not(HasSubstr("content-length")));
  TestConnection client = mesh.rig().connect();
  client.send("HEAD / HTTP/1.1\r\nHost: service\r\n\r\nHEAD / HTTP/1.1\r\nHost: service\r\n\r\n");
  for (int i = 0; i < 2; ++i) EXPECT_THAT(client.read_until("\r\n\r\n"), HasSubstr("content-length: 3\r\n"));
}

TEST(RouteActionTest, TheBodyOfARequestThatIsAnsweredAtOnceIsNoNextRequest) {
  RouteRig mesh("http{direct_response{status:403}}");
  TestConnection client = mesh.rig().connect();
  client.send(
      "POST / HTTP/1.1\r\nHost: service\r\nContent-Length: 36\r\n\r\nGET / HTTP/1.1\r\nHost: "
      "service\r\n\r\n");
  const std::string all = client.read_message();
  EXPECT_THAT(all, StartsWith("HTTP/1.1 403"));
  EXPECT_THAT(all, HasSubstr("Connection: close"));
}

TEST(RouteActionTest, Http2ClientsGetTheSameAnswers) {
  RouteRig mesh(
      "http{matches{headers{name:'x-a'}} redirect{scheme:'https' code:301}} http{direct_response{status:503 "
      "body:'later'}}");
  Http2Asker redirected(mesh.rig());
  redirected.ask({{"x-a", "1"}});
  EXPECT_EQ(redirected.answer.field(0, ":status"), "301");
  EXPECT_EQ(redirected.answer.field(0, "location"), "https://shop/a?b");
  Http2Asker answered(mesh.rig());
  answered.ask({});
  EXPECT_EQ(answered.answer.field(0, ":status"), "503");
  EXPECT_EQ(answered.answer.body, "later");
}

TEST(RouteActionTest, AGrpcClientGetsADirectResponseAsStatusAndMessage) {
  RouteRig mesh("http{direct_response{status:503 body:'later \\303\\244'}}");
  Http2Asker client(mesh.rig());
  client.ask({{"content-type", "application/grpc"}, {"te", "trailers"}}, "POST");
  EXPECT_EQ(client.answer.field(0, ":status"), "200");
  EXPECT_EQ(client.answer.field(0, "grpc-status"), "14");
  EXPECT_EQ(client.answer.field(0, "grpc-message"), "later %C3%A4");
  EXPECT_TRUE(client.answer.body.empty());
}

TEST(RouteActionTest, TheServerSeesTheRewrittenTargetAndHost) {
  RouteRig mesh(
      str_cat("http{matches{uri{prefix:'/old'}} path_rewrite{matched:'/new'} authority_rewrite:'other:81'",
              kTo, "}"));
  EXPECT_THAT(mesh.get("/old/x?q=1"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(mesh.seen(), StartsWith("GET /new/x?q=1 HTTP/1.1\r\nHost: other:81\r\n"));
  EXPECT_EQ(mesh.rig().sink().wait(1).at(0).path, "/old/x") << "the record has what the client asked for";
}

TEST(RouteActionTest, AnHttp1ServerSeesTheRewrittenHostOfAnHttp2Request) {
  RouteRig mesh(str_cat("http{path_rewrite{matched:'/v2/'} authority_rewrite:'other'", kTo, "}"));
  const SnapshotPtr base = mesh.rig().make_snapshot(
      {TestCluster{.name = "v1", .endpoints = {mesh.server_address()}, .protocol = ClusterProtocol::kHttp1}},
      3);
  mesh.rig().use(
      with_routes(base, str_cat("http{path_rewrite{matched:'/v2/'} authority_rewrite:'other'", kTo, "}")));
  Http2Asker client(mesh.rig());
  client.ask({});
  EXPECT_EQ(client.answer.field(0, ":status"), "200");
  EXPECT_THAT(mesh.seen(), StartsWith("GET /v2/a?b HTTP/1.1\r\nHost: other\r\n"));
}

TEST(RouteActionTest, AnHttp2ServerSeesTheRewrittenRequestToo) {
  TestServer server(http2_server(echo));
  RouteRig mesh(str_cat("http{path_rewrite{matched:'/v2/'} authority_rewrite:'other'", kTo, "}"));
  const SnapshotPtr base = mesh.rig().make_snapshot(
      {TestCluster{.name = "v1", .endpoints = {server.address()}, .protocol = ClusterProtocol::kHttp2}}, 3);
  mesh.rig().use(with_routes(base, str_cat("http{path_rewrite{matched:'/v2/'} "
                                           "response_headers{edits{name:'x-more' value{parts{literal:'1'}}}}",
                                           kTo, "}")));
  const std::string answer = mesh.get("/a?b");
  EXPECT_THAT(answer, HasSubstr("/v2/a?b "));
  EXPECT_THAT(answer, HasSubstr("x-more: 1\r\n"));
}

TEST(RouteActionTest, ARewriteThatMakesNoPathIsAnswered500) {
  RouteRig mesh(str_cat("http{path_rewrite{regex{pattern:'^/' substitution:''}}", kTo, "}"));
  EXPECT_THAT(mesh.get("/a"), HasSubstr("x-weft-reason: bad_rewrite"));
  EXPECT_EQ(mesh.requests(), 0);
}

TEST(RouteActionTest, HeadersAreEditedOnBothWays) {
  RouteRig mesh(
      str_cat("http{request_headers{remove:'x-drop' edits{name:'x-set' value{parts{literal:'new'}}} "
              "edits{name:'x-from' "
              "value{parts{variable:REQUEST_HEADER header:'x-drop'} parts{literal:'!'}}}} "
              "response_headers{remove:'server' "
              "edits{name:'x-up' append:true value{parts{variable:RESPONSE_CODE}}}}",
              kTo, "}"));
  const std::string answer = mesh.get("/", "X-Drop: gone\r\nX-Set: old\r\n");
  EXPECT_EQ(mesh.seen(), "GET / HTTP/1.1\r\nHost: service\r\nX-Set: new\r\nx-from: gone!\r\n\r\n");
  EXPECT_THAT(answer, Not(HasSubstr("Server: ")));
  EXPECT_THAT(answer, HasSubstr("X-Up: 1\r\n"));
  EXPECT_THAT(answer, HasSubstr("x-up: 200\r\n"));
}

TEST(RouteActionTest, EditsOfTheChosenDestinationComeAfterTheRoutes) {
  RouteRig mesh(
      "http{request_headers{edits{name:'x-a' value{parts{literal:'route'}}}} destinations{host:'v1' weight:1 "
      "authority:'v1.example' request_headers{edits{name:'x-a' value{parts{literal:'destination'}}}} "
      "response_headers{edits{name:'x-b' value{parts{literal:'v1'}}}}}}");
  EXPECT_THAT(mesh.get("/"), HasSubstr("x-b: v1\r\n"));
  EXPECT_EQ(mesh.seen(), "GET / HTTP/1.1\r\nHost: v1.example\r\nx-a: destination\r\n\r\n");
}

TEST(RouteActionTest, TheRoutesHostBeatsTheDestinations) {
  RouteRig mesh(
      "http{authority_rewrite:'route.example' destinations{host:'v1' weight:1 authority:'v1.example'}}");
  mesh.get("/");
  EXPECT_EQ(mesh.seen(), "GET / HTTP/1.1\r\nHost: route.example\r\n\r\n");
}

TEST(RouteActionTest, OnlyTheDestinationThatWasChosenEdits) {
  TestServer other(always("other"));
  RouteRig mesh(
      "http{destinations{host:'v1' weight:1 response_headers{edits{name:'x-d' value{parts{literal:'1'}}}}} "
      "destinations{host:'v2' weight:1 response_headers{edits{name:'x-d' value{parts{literal:'2'}}}}}}",
      {TestCluster{.name = "v2", .endpoints = {other.address()}}});
  int second = 0;
  for (int i = 0; i < 60; ++i) {
    const std::string answer = mesh.get("/");
    const bool is_other = answer.ends_with("other");
    second += is_other ? 1 : 0;
    EXPECT_THAT(answer, HasSubstr(is_other ? "x-d: 2\r\n" : "x-d: 1\r\n"));
  }
  EXPECT_GT(second, 5);
  EXPECT_LT(second, 55);
}

TEST(RouteActionTest, ATunnelIsRewrittenAsWell) {
  RouteRig mesh(str_cat("http{path_rewrite{matched:'/ws/'}", kTo, "}"));
  mesh.get("/chat", "Connection: upgrade\r\nUpgrade: websocket\r\n");
  EXPECT_THAT(mesh.seen(), StartsWith("GET /ws/chat HTTP/1.1\r\n"));
  EXPECT_THAT(mesh.seen(), HasSubstr("Upgrade: websocket\r\n"));
}

}  // namespace
}  // namespace weft::proxy
