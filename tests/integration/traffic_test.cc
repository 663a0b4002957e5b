// The examples of traffic rules, applied as they stand, and what curl sees of them in a captured pod.
#include <gmock/gmock.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/strings.h"
#include "tests/harness/mesh_test.h"
#include "tests/unit/base/scratch_folder.h"
#include "tests/unit/identity/pki.h"

namespace weft::harness {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kUrl[] = "http://10.96.0.10";

class TrafficTest : public MeshTest {
 protected:
  // Puts the example in force and waits until the proxy routes by it: its first route is listed and nothing
  // waits to be taken.
  void apply(const std::string& example, const std::string& route) {
    apply_listed(example, str_cat("product-service/", route));
  }
  // `row`: as `weft get routes` names a route of it.
  void apply_listed(const std::string& example, const std::string& row) {
    std::ifstream file(str_cat("examples/", example, "/routing.yaml"));
    ASSERT_TRUE(file.is_open()) << "run from the root of the repository";
    std::stringstream text;
    text << file.rdbuf();
    mesh_->manifests().write("canary.yaml", text.str());
    ASSERT_TRUE(cli_shows({"get", "routes"}, row)) << mesh_->log();
    ASSERT_TRUE(cli_shows({"status"}, "current")) << mesh_->log();
  }
  // The pod's server becomes one that counts (see tests/harness/peer_http.h).
  void count_on(const Pod& pod) {
    servers_[&pod == &v1_ ? 0 : 1].reset();
    auto server = start_peer(pod, "counting", 8080);
    ASSERT_TRUE(server.ok()) << server.status();
    servers_[&pod == &v1_ ? 0 : 1] = std::move(*server);
  }
  // Asked past the proxy: the pod asks itself.
  std::string counts(const Pod& pod) {
    return curl(pod, {"http://" + pod.v4(8080).to_string() + "/count"}).output;
  }
  uint64_t counted(const Pod& pod, const std::string& what) { return counted(counts(pod), what); }
  static uint64_t counted(const std::string& text, const std::string& what) {
    const size_t at = text.find(what + " ");
    return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + what.size(), nullptr, 10);
  }
  // The answer's head and body.
  std::string get(const std::string& path, std::vector<std::string> options = {}) {
    options.insert(options.begin(), {"-i", kUrl + path});
    return curl(client_, std::move(options)).output;
  }
  std::string status(const std::string& path, std::vector<std::string> options = {}) {
    options.insert(options.begin(), {"-o", "/dev/null", "-w", "%{http_code}", kUrl + path});
    return curl(client_, std::move(options)).output;
  }
};

TEST_F(TrafficTest, RedirectsAndDirectResponsesComeFromTheProxy) {
  ASSERT_NO_FATAL_FAILURE(apply("redirect", "moved"));
  EXPECT_EQ(
      curl(client_, {"-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", str_cat(kUrl, "/old/item?q=1")})
          .output,
      "308 http://10.96.0.10/new/item?q=1");
  const std::string closed = get("/closed");
  EXPECT_THAT(closed, StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(closed, HasSubstr("retry-after: 3600"));
  EXPECT_THAT(closed, HasSubstr("Back on Monday.\n"));
  EXPECT_THAT(get("/closed", {"--http2-prior-knowledge"}), StartsWith("HTTP/2 503"));
  EXPECT_THAT(get("/"), HasSubstr("x-version: v"));
}

TEST_F(TrafficTest, TheServerSeesRewrittenPaths) {
  ASSERT_NO_FATAL_FAILURE(apply("rewrite", "by-prefix"));
  // The servers answer every path with their version, three bytes, but this one, which is a file or missing.
  const auto length = [&](const std::string& path) {
    return curl(client_, {"-I", "-o", "/dev/null", "-w", "%header{content-length}", kUrl + path}).output;
  };
  for (const char* path : {"/file", "/shop/file", "/items/17/file"}) EXPECT_NE(length(path), "3") << path;
  for (const char* path : {"/other", "/shop/other", "/items/x/file"}) EXPECT_EQ(length(path), "3") << path;
}

TEST_F(TrafficTest, HeadersAreEditedOnTheWay) {
  ASSERT_NO_FATAL_FAILURE(apply("headers", "edited"));
  const std::string answer = get("/");
  EXPECT_THAT(answer, HasSubstr("x-route: edited\r\n"));
  EXPECT_THAT(answer, HasSubstr("x-share: 50%\r\n"));
  EXPECT_THAT(answer, HasSubstr(":8080\r\n"));
  EXPECT_THAT(answer, Not(HasSubstr("Server: ")));
}

TEST_F(TrafficTest, FaultsComeInTheirShares) {
  ASSERT_NO_FATAL_FAILURE(apply("fault-injection", "jason-waits"));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(status("/", {"-H", "end-user: jason"}), "200");
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(2000));
  const LoadResult result = load(client_, {"10.96.0.10:80", "-n", "2000", "-c", "4", "--path", "/flaky"});
  EXPECT_NEAR(static_cast<double>(result.failed) / 2000, 0.5, 0.07) << result.text;
}

TEST_F(TrafficTest, PreflightsAreAnsweredByTheProxy) {
  ASSERT_NO_FATAL_FAILURE(apply("cors", "for-the-shop"));
  const std::string answer = get("/", {"-X", "OPTIONS", "-H", "Origin: http://shop.example.com", "-H",
                                       "Access-Control-Request-Method: PUT"});
  EXPECT_THAT(answer, HasSubstr("access-control-allow-methods: GET,PUT\r\n"));
  EXPECT_THAT(answer, HasSubstr("access-control-max-age: 86400\r\n"));
  EXPECT_THAT(get("/", {"-H", "Origin: http://shop.example.com"}),
              HasSubstr("access-control-allow-origin: http://shop.example.com\r\n"));
}

TEST_F(TrafficTest, AMirrorGetsCopiesAndTheClientOnlyTheAnswer) {
  ASSERT_NO_FATAL_FAILURE(count_on(v2_));
  ASSERT_NO_FATAL_FAILURE(apply("mirror", "v1-with-a-copy-to-v2"));
  const LoadResult result = load(client_, {"10.96.0.10:80", "-n", "2000", "-c", "8"});
  EXPECT_EQ(result.failed, 0u) << result.text;
  EXPECT_EQ(result.share("v1"), 1.0) << "answers of the mirror reach nobody: " << result.text;
  // A tenth of 2000, five standard deviations on either side; nobody waits for the last of them.
  EXPECT_TRUE(wait_until(milliseconds(10'000), [&] { return counted(v2_, "GET") >= 133; }));
  // Some may still be on their way: one answer says both.
  const std::string seen = counts(v2_);
  EXPECT_LE(counted(seen, "GET"), 267u);
  EXPECT_EQ(counted(seen, "shadow"), counted(seen, "GET")) << "the mirror's log: each is marked in its Host";
}

TEST_F(TrafficTest, AMirrorThatFailsIsNoFailureOfTheClient) {
  ASSERT_NO_FATAL_FAILURE(count_on(v2_));
  ASSERT_NO_FATAL_FAILURE(apply("mirror", "v1-with-a-copy-to-v2"));
  const LoadResult result = load(client_, {"10.96.0.10:80", "-n", "1000", "-c", "8", "--path", "/drop"});
  EXPECT_EQ(result.failed, 0u) << result.text;
  EXPECT_TRUE(wait_until(milliseconds(10'000), [&] { return counted(v2_, "GET") > 0; }));
}

TEST_F(TrafficTest, RetriesStayWithinTheBudgetWhenEveryServerFails) {
  ASSERT_NO_FATAL_FAILURE(count_on(v1_));
  ASSERT_NO_FATAL_FAILURE(count_on(v2_));
  ASSERT_NO_FATAL_FAILURE(apply("retries", "tried-again"));
  const LoadResult result = load(client_, {"10.96.0.10:80", "-n", "6000", "-c", "64", "--path", "/503"});
  EXPECT_EQ(result.failed, 6000u) << result.text;
  const uint64_t tries = counted(v1_, "GET") + counted(v2_, "GET");
  EXPECT_GT(tries, 6000u) << "none was tried again";
  // Of what is under way to the servers a fifth may be further tries; without a budget they were 18,000.
  EXPECT_LE(tries - 6000, tries / 5) << tries << " tries";
}

TEST_F(TrafficTest, APostThatWasSentIsNeverSentTwice) {
  ASSERT_NO_FATAL_FAILURE(count_on(v1_));
  ASSERT_NO_FATAL_FAILURE(count_on(v2_));
  ASSERT_NO_FATAL_FAILURE(apply("retries", "tried-again"));
  for (const char* path : {"/503", "/drop"}) {
    const uint64_t before = counted(v1_, "POST") + counted(v2_, "POST");
    const LoadResult result = load(client_, {"10.96.0.10:80", "-n", "500", "-c", "8", "--path", path,
                                             "--method", "POST", "--body-bytes", "100"});
    EXPECT_EQ(result.failed, 500u) << result.text;
    EXPECT_EQ(counted(v1_, "POST") + counted(v2_, "POST") - before, 500u) << path;
  }
  // A GET may be, and is.
  load(client_, {"10.96.0.10:80", "-n", "100", "-c", "1", "--path", "/drop"});
  EXPECT_GT(counted(v1_, "GET") + counted(v2_, "GET"), 100u);
}

TEST_F(TrafficTest, ARouteWithRetriesServesAsAnyOther) {
  ASSERT_NO_FATAL_FAILURE(apply("retries", "tried-again"));
  const LoadResult result = load(client_, {"10.96.0.10:80", "-n", "2000", "-c", "8"});
  EXPECT_EQ(result.failed, 0u) << result.text;
}

TEST_F(TrafficTest, AnHttpRouteTakesWhatIsDialledAtItsService) {
  ASSERT_NO_FATAL_FAILURE(apply_listed("http-route", "default/product.testers"));
  EXPECT_EQ(
      curl(client_, {"-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", str_cat(kUrl, "/old/item")})
          .output,
      "301 http://10.96.0.10/new/item");
  const std::string tester = get("/", {"-H", "x-user: tester", "-H", "Host: somebody.else"});
  EXPECT_THAT(tester, HasSubstr("x-version: v2"));
  EXPECT_THAT(tester, HasSubstr("x-route: testers"));
  const LoadResult result = load(client_, {"10.96.0.10:80", "-n", "2000", "-c", "8"});
  EXPECT_EQ(result.failed, 0u) << result.text;
  EXPECT_NEAR(result.share("v1"), 0.9, 0.04) << result.text;
}

TEST_F(TrafficTest, AGrpcRouteAnswers404ForOtherServices) {
  ASSERT_NO_FATAL_FAILURE(apply_listed("grpc-route", "default/product.search"));
  EXPECT_THAT(get("/shop.Products/Search"), HasSubstr("x-version: v2"));
  EXPECT_THAT(get("/shop.Products/Get"), HasSubstr("x-version: v1"));
  EXPECT_EQ(status("/shop.Cart/Get"), "404");
}

TEST_F(TrafficTest, ATcpRouteTakesConnectionsThatTheKernelWouldServe) {
  ASSERT_NO_FATAL_FAILURE(apply_listed("tcp-route", "default/product[0]"));
  for (int i = 0; i < 8; ++i)
    EXPECT_THAT(curl(client_, {"-i", "http://10.96.0.40:9000/"}).output, HasSubstr("x-version: v2"));
}

TEST_F(TrafficTest, TcpRoutesOfAVirtualServiceKnowTheClient) {
  ASSERT_NO_FATAL_FAILURE(apply_listed("virtual-service-tcp", "default/product-tcp.tcp[0]"));
  for (int i = 0; i < 8; ++i)
    EXPECT_THAT(curl(client_, {"-i", "http://10.96.0.40:9000/"}).output, HasSubstr("x-version: v2"));
}

TEST_F(TrafficTest, AGatewayOpensAPortOfTheNode) {
  // Of the machine, where the agent runs; below the ports that the kernel gives away.
  constexpr char kPort[] = "18733";
  mesh_->manifests().write(
      "gateway.yaml",
      str_cat(
          "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge}\nspec:\n  servers:\n",
          "  - {port: {number: ", kPort, ", name: http, protocol: HTTP}, hosts: [a.example]}\n",
          "  - {port: {number: ", kPort,
          ", name: old, protocol: HTTP}, hosts: [b.example], tls: {httpsRedirect: true}}\n",
          "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: edge}\nspec:\n",
          "  hosts: [a.example]\n  gateways: [edge]\n",
          "  http: [{name: hello, directResponse: {status: 200, body: {string: inside}}}]\n"));
  const auto ask = [&](const std::string& host) {
    Spawn spawn;
    spawn.argv = {"curl",
                  "-s",
                  "-i",
                  "--max-time",
                  "2",
                  "-H",
                  str_cat("Host: ", host),
                  str_cat("http://127.0.0.1:", kPort, "/x")};
    return run(spawn).output;
  };
  ASSERT_TRUE(wait_until(milliseconds(20'000), [&] {
    return ask("a.example").find("inside") != std::string::npos;
  })) << mesh_->log();
  EXPECT_THAT(ask("b.example"), HasSubstr("location: https://b.example/x"));
  EXPECT_THAT(ask("product-service"), StartsWith("HTTP/1.1 404"));
  mesh_->kill_proxy();
  ASSERT_TRUE(mesh_->start_proxy().ok()) << mesh_->log();
  EXPECT_TRUE(
      wait_until(milliseconds(20'000), [&] { return ask("a.example").find("inside") != std::string::npos; }))
      << "the next proxy gets the listeners: " << mesh_->log();
  mesh_->manifests().remove("gateway.yaml");
  EXPECT_TRUE(wait_until(milliseconds(20'000), [&] { return ask("a.example").empty(); }))
      << "the port is closed";
}

// The agent and its proxy stand in the node's network, from where its pods are reached; so does the client.
TEST_F(TrafficTest, AGatewayForwardsToACapturedPodByRoutesOfBothApis) {
  const absl::StatusOr<Pod> pod = topology_->add_pod(1, "inside");
  ASSERT_TRUE(pod.ok()) << pod.status();
  auto server = start_nginx(*sandbox_, *pod, 8080, "inside", 0);
  ASSERT_TRUE(server.ok()) << server.status();
  servers_.push_back(std::move(*server));
  EXPECT_EQ(mesh_->stop_proxy(), 0);
  EXPECT_EQ(mesh_->stop_agent(), 0);
  const std::string node = topology_->host_netns(1);
  mesh_->run_in(node);
  mesh_->manifests().write(
      "inside.yaml",
      str_cat(
          pod_yaml(*pod, {{"app", "inside"}}, true),
          service_yaml({.name = "inside",
                        .ip4 = "10.96.0.60",
                        .ip6 = "fd96::60",
                        .ports = {{.name = "http", .port = 80, .target_port = 8080}}}),
          "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: istio}\nspec:\n",
          "  servers: [{port: {number: 18734, name: http, protocol: HTTP}, hosts: [a.example]}]\n",
          "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: istio}\nspec:\n",
          "  hosts: [a.example]\n  gateways: [istio]\n",
          "  http: [{route: [{destination: {host: inside}}]}]\n",
          "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: api}\nspec:\n",
          "  gatewayClassName: weft\n  listeners: [{name: http, port: 18735, protocol: HTTP}]\n",
          "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: api}\nspec:\n",
          "  parentRefs: [{name: api}]\n  hostnames: [b.example]\n",
          "  rules: [{backendRefs: [{name: inside, port: 80}]}]\n"));
  ASSERT_TRUE(mesh_->start_agent().ok()) << mesh_->log();
  ASSERT_TRUE(mesh_->start_proxy().ok()) << mesh_->log();
  ASSERT_TRUE(cli_shows({"get", "workloads"}, "inside")) << mesh_->log();
  const auto ask = [&](const std::string& host, const char* port) {
    Spawn spawn;
    spawn.netns = node;
    spawn.argv = {"curl",
                  "-s",
                  "-i",
                  "--max-time",
                  "2",
                  "-H",
                  str_cat("Host: ", host),
                  str_cat("http://127.0.0.1:", port, "/")};
    return run(spawn).output;
  };
  for (const auto& [host, port] : {std::pair("a.example", "18734"), std::pair("b.example", "18735")}) {
    EXPECT_TRUE(wait_until(milliseconds(20'000),
                           [&] { return ask(host, port).find("x-version: inside") != std::string::npos; }))
        << host << ": " << ask(host, port) << mesh_->log();
    EXPECT_THAT(ask("c.example", port), StartsWith("HTTP/1.1 404"));
  }
}

TEST_F(TrafficTest, APodThatMayReachDeclaredDestinationsOnlyReachesNoOther) {
  std::ifstream file("examples/registry-only/routing.yaml");
  ASSERT_TRUE(file.is_open()) << "run from the root of the repository";
  std::stringstream text;
  text << file.rdbuf();
  std::string routing = text.str();
  const std::string written = "192.0.2.10";
  routing.replace(routing.find(written), written.size(), v1_.ip4.to_string());
  mesh_->manifests().write("canary.yaml", routing);
  // Nobody answers there: until the policy is in force the connection hangs.
  const auto ask = [&](const std::string& url, const std::string& host = "elsewhere.example") {
    return curl(client_, {"-i", "--max-time", "1", "-H", str_cat("Host: ", host), url}).output;
  };
  ASSERT_TRUE(wait_until(milliseconds(20'000), [&] {
    return ask("http://198.51.100.1/").find("x-weft-reason: not_declared") != std::string::npos;
  })) << mesh_->log();
  EXPECT_THAT(ask("http://198.51.100.1:8443/"), StartsWith("HTTP/1.1 502"));
  EXPECT_THAT(ask("http://10.96.0.10/"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(ask("http://240.0.0.1/"), HasSubstr("x-version: v1"));
  EXPECT_THAT(ask("http://198.51.100.1/", "catalogue.example.com"), HasSubstr("x-version: v1"))
      << "to where the registry has it, not to where it was dialled";
  EXPECT_EQ(curl(client_, {"--max-time", "5", "telnet://198.51.100.1:25"}).exit_code, 56) << "a reset";
  EXPECT_THAT(mesh_->log(), HasSubstr("not_declared"));
  // The proxy's absence is no way out.
  mesh_->kill_proxy();
  EXPECT_TRUE(wait_until(milliseconds(20'000), [&] {
    return curl(client_, {"--max-time", "1", "http://198.51.100.1/"}).exit_code == 7;
  })) << "refused by the kernel";
  ASSERT_TRUE(mesh_->start_proxy().ok()) << mesh_->log();
  EXPECT_TRUE(wait_until(
      milliseconds(20'000),
      [&] { return ask("http://198.51.100.1/").find("x-weft-reason: not_declared") != std::string::npos; }))
      << "by the next proxy: " << mesh_->log();
}

// The text as a block of YAML, below a key at this column.
std::string block(const std::string& text, size_t column) {
  std::string out = "|\n";
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) str_append(&out, std::string(column, ' '), line, "\n");
  return out;
}

TEST_F(TrafficTest, AGatewayEndsTlsAndItsKeyIsSeenNowhere) {
  constexpr char kPort[] = "18736";
  const test::ScratchFolder folder;
  const test::Authority authority = test::make_authority("public");
  const test::Leaf leaf = test::make_leaf(authority, {.names = {{GEN_DNS, "a.example"}}});
  std::ofstream(folder.file("ca.crt")) << to_pem(authority.certificate.get());
  const std::string key = test::key_pem(leaf.key.get());
  mesh_->manifests().write(
      "gateway.yaml",
      str_cat(
          "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge}\nspec:\n  servers:\n",
          "  - {port: {number: ", kPort,
          ", name: https, protocol: HTTPS}, hosts: [a.example], tls: {mode: SIMPLE, credentialName: a}}\n",
          "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: edge}\nspec:\n",
          "  hosts: [a.example]\n  gateways: [edge]\n",
          "  http: [{name: hello, match: [{scheme: {exact: https}}], directResponse: {status: 200, body: "
          "{string: "
          "inside}}}]\n"));
  const auto ask = [&](const char* version) {
    Spawn spawn;
    spawn.argv = {"curl",
                  "-s",
                  "-w",
                  " HTTP/%{http_version}",
                  version,
                  "--max-time",
                  "2",
                  "--cacert",
                  folder.file("ca.crt"),
                  "--connect-to",
                  str_cat("a.example:", kPort, ":127.0.0.1:", kPort),
                  str_cat("https://a.example:", kPort, "/x")};
    return run(spawn).output;
  };
  ASSERT_TRUE(wait_until(milliseconds(20'000), [&] {
    return ask("--http2").empty() || mesh_->log().find("gateway_tls_refused") != std::string::npos;
  })) << mesh_->log();
  EXPECT_EQ(ask("--http2").find("inside"), std::string::npos) << "there is no certificate yet";
  mesh_->manifests().write(
      "secret.yaml",
      str_cat("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ntype: kubernetes.io/tls\nstringData:\n",
              "  tls.crt: ", block(to_pem(leaf.certificate.get()), 4), "  tls.key: ", block(key, 4)));
  ASSERT_TRUE(wait_until(milliseconds(20'000), [&] { return ask("--http2") == "inside HTTP/2"; }))
      << mesh_->log();
  EXPECT_EQ(ask("--http1.1"), "inside HTTP/1.1");
  const std::string bytes = key.substr(40, 40);
  EXPECT_THAT(mesh_->log(), Not(HasSubstr(bytes)));
  for (const char* what : {"routes", "services", "endpoints", "workloads"})
    EXPECT_THAT(mesh_->cli({"-o", "json", "get", what}).output, Not(HasSubstr(bytes))) << what;
  mesh_->manifests().remove("gateway.yaml");
  mesh_->manifests().remove("secret.yaml");
}

TEST_F(TrafficTest, ARateLimitLetsTheBurstPassAndAnswersTheRest) {
  ASSERT_NO_FATAL_FAILURE(apply("rate-limit", "checkout"));
  // Connections of their own, so that any worker may get them.
  const auto checkout = [&](const char* user) {
    return load(client_, {"10.96.0.10:80", "-n", "200", "-c", "8", "--new-connections", "--path", "/checkout",
                          "--header", str_cat("x-user: ", user)});
  };
  for (const char* user : {"anna", "ben"}) {
    const LoadResult result = checkout(user);
    EXPECT_GE(result.requests - result.failed, 3u) << result.text;
    // A token each six seconds: what a slow machine may add.
    EXPECT_LE(result.requests - result.failed, 6u) << "one bucket for all workers: " << result.text;
  }
  const std::string refused = get("/checkout", {"-H", "x-user: anna"});
  EXPECT_THAT(refused, StartsWith("HTTP/1.1 429"));
  for (const char* field : {"retry-after: ", "x-ratelimit-limit: 3\r\n", "x-ratelimit-remaining: 0\r\n",
                            "x-weft-reason: rate_limited\r\n"})
    EXPECT_THAT(refused, HasSubstr(field));
  EXPECT_EQ(status("/reports"), "200");
  EXPECT_EQ(status("/reports"), "429");
  EXPECT_EQ(status("/"), "200");
  EXPECT_THAT(mesh_->metrics(), HasSubstr("weft_outcomes_total{outcome=\"rate_limited\"}"));
}

TEST_F(TrafficTest, ATimeoutEndsWhatHangs) {
  auto pod = add_service({.name = "slow",
                          .ip4 = "10.96.0.30",
                          .ip6 = "fd96::30",
                          .ports = {{.name = "http", .port = 80, .target_port = 8081}}});
  ASSERT_TRUE(pod.ok()) << pod.status();
  auto process = start_peer(*pod, "http", 8081);
  ASSERT_TRUE(process.ok()) << process.status();
  servers_.push_back(std::move(*process));
  mesh_->manifests().write(
      "slow-routing.yaml",
      "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: slow}\nspec:\n"
      "  hosts: [slow]\n  http:\n  - name: bounded\n    timeout: 200ms\n    headers:\n"
      "      request: {set: {host: other.example, x-client: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%'}}\n"
      "    route: [{destination: {host: slow}}]\n");
  ASSERT_TRUE(cli_shows({"get", "routes"}, "slow/bounded")) << mesh_->log();
  ASSERT_TRUE(cli_shows({"status"}, "current")) << mesh_->log();
  EXPECT_THAT(curl(client_, {"-i", "http://10.96.0.30/hang"}).output, HasSubstr("x-weft-reason: timeout"));
  const std::string head = curl(client_, {"http://10.96.0.30/head"}).output;
  EXPECT_THAT(head, HasSubstr("Host: other.example\n"));
  EXPECT_THAT(head, HasSubstr(str_cat("x-client: ", client_.ip4.to_string(), "\n")));
}

}  // namespace
}  // namespace weft::harness
