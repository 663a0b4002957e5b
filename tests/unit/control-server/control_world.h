// weft-control with an API server of the test's and agents' clients of it, over TLS on loopback.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/strings.h"
#include "control-plane/remote/remote_control_plane.h"
#include "control-plane/serve/control_server.h"
#include "proto/xds/secret.pb.h"
#include "tests/harness/wait.h"
#include "tests/unit/base/scratch_folder.h"
#include "tests/unit/identity/pki.h"
#include "tests/unit/kubernetes/fake_api_server.h"

namespace weft::control_plane::test {

inline constexpr char kReviews[] = "/apis/authentication.k8s.io/v1/tokenreviews";
inline constexpr char kPods[] = "/api/v1/pods";
inline constexpr char kServices[] = "/api/v1/services";
inline constexpr char kVirtualServices[] = "/apis/networking.istio.io/v1/virtualservices";
inline constexpr std::chrono::seconds kLimit{30};
inline constexpr char kWeb[] = "spiffe://cluster.local/ns/shop/sa/web";
inline constexpr char kDatabase[] = "spiffe://cluster.local/ns/shop/sa/db";

inline Json pod(const std::string& name, const std::string& node, const std::string& ip) {
  return {{"apiVersion", "v1"},
          {"kind", "Pod"},
          {"metadata",
           {{"namespace", "shop"},
            {"name", name},
            {"uid", "uid-" + name},
            {"labels", {{"istio.io/dataplane-mode", "ambient"}}}}},
          {"spec", {{"nodeName", node}, {"serviceAccountName", name}, {"containers", {{{"name", "c"}}}}}},
          {"status", {{"phase", "Running"}, {"podIP", ip}}}};
}

inline Json service(const std::string& name, int port) {
  return {{"apiVersion", "v1"},
          {"kind", "Service"},
          {"metadata", {{"namespace", "shop"}, {"name", name}}},
          {"spec", {{"clusterIP", "10.96.0.1"}, {"ports", {{{"port", port}}}}}}};
}

inline void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

// The client of one node and what it was told.
class Client {
 public:
  explicit Client(RemoteOptions options) : options_(std::move(options)) {}

  absl::Status start() {
    auto started = start_remote(options_, [this](const Change& change) {
      const std::lock_guard lock(mutex_);
      changes_.push_back(change);
      changed_.notify_all();
    });
    if (started.ok()) client_ = *std::move(started);
    return started.status();
  }
  bool wait_for(size_t many) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kLimit, [&] { return changes_.size() >= many; });
  }
  bool wait_until(const std::function<bool(const Change&)>& said) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kLimit, [&] { return !changes_.empty() && said(changes_.back()); });
  }
  Change change(size_t at) {
    const std::lock_guard lock(mutex_);
    return changes_.at(at);
  }
  Change last() {
    const std::lock_guard lock(mutex_);
    return changes_.back();
  }
  // The key of that Secret that it was told last and not told to forget; "": none.
  std::string key_of(const std::string& name) {
    const std::lock_guard lock(mutex_);
    std::string out;
    for (const Change& change : changes_) {
      for (const auto& [type, gone] : change.removed) {
        if (type == kSecretType && gone == name) out.clear();
      }
      for (const Resource& each : change.upserted) {
        envoy::extensions::transport_sockets::tls::v3::Secret secret;
        if (each.type_url() != std::string_view(kSecretType) || each.name() != name) continue;
        EXPECT_TRUE(each.decode(&secret));
        out = secret.tls_certificate().private_key().inline_bytes();
      }
    }
    return out;
  }
  bool holds(const std::string& name, const std::string& key) {
    return harness::wait_until(kLimit, [&] { return key_of(name) == key; });
  }
  std::vector<std::string> pods_of_last() {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> out;
    for (const LocalPod& each : changes_.back().local_pods) out.push_back(each.name);
    return out;
  }
  RemoteReport report() const { return client_->report(); }
  // "?": it was told of none.
  std::string revocations() const { return client_->revocations().value_or("?"); }

 private:
  const RemoteOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Change> changes_;
  std::unique_ptr<RemoteControlPlane> client_;
};

class ControlServerTest : public testing::Test {
 protected:
  void SetUp() override {
    api_.set_script([this](const FakeApiServer::Request& request) -> std::optional<FakeApiServer::Reply> {
      if (request.path != kReviews) return std::nullopt;
      return review(Json::parse(request.body)["spec"]["token"]);
    });
    write(folder_.file("kubeconfig"), str_cat("current-context: c\n"
                                              "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
                                              "clusters: [{name: c, cluster: {server: '",
                                              api_.url(), "'}}]\nusers: [{name: u, user: {token: t}}]\n"));
    write(folder_.file("token"), "first@node1\n");
    api_.put(kPods, pod("web", "node1", "10.0.0.1"));
    api_.put(kPods, pod("db", "node2", "10.0.0.2"));
    clients_ = ::weft::test::make_authority("clients");
    write(folder_.file("clients.crt"), to_pem(clients_.certificate.get()));
  }
  void TearDown() override { server_.reset(); }

  // "<what>@<node>" is a token of that node's agent; what is in `refused_` is none any more.
  FakeApiServer::Reply review(const std::string& token) {
    const std::lock_guard lock(mutex_);
    const size_t at = token.find('@');
    Json status{{"authenticated", false}, {"error", "the token is not valid"}};
    if (at != std::string::npos && token.substr(0, at) != refused_) {
      status = {{"authenticated", true},
                {"audiences", {"weft-control"}},
                {"user",
                 {{"username", "system:serviceaccount:weft-system:weft-agent"},
                  {"extra", {{"authentication.kubernetes.io/node-name", {token.substr(at + 1)}}}}}}};
    }
    return {.status = 201, .body = Json{{"kind", "TokenReview"}, {"status", status}}.dump()};
  }
  void revoke(absl::StatusOr<std::string> lists) {
    {
      const std::lock_guard lock(mutex_);
      revocations_ = std::move(lists);
    }
    if (server_ != nullptr) server_->tick(absl::Now());
  }
  void refuse(const std::string& what) {
    const std::lock_guard lock(mutex_);
    refused_ = what;
  }

  void serve() {
    ControlServer::Options options{.address = *SocketAddress::parse(str_cat("127.0.0.1:", port_.number())),
                                   .metrics_address = *SocketAddress::parse("127.0.0.1:0"),
                                   .health_address = *SocketAddress::parse("127.0.0.1:0"),
                                   .certificate = {.names = {"127.0.0.1"},
                                                   .folder = folder_.file("run"),
                                                   .client_authority_file = folder_.file("clients.crt")}};
    options.callers.accounts = {"weft-system/weft-agent"};
    options.gateway_nodes = gateway_nodes_;
    ControlServer::Parts parts;
    parts.authority = *CertificateAuthority::open({.folder = folder_.file("ca")}, absl::Now());
    const auto reviewer =
        std::make_shared<TokenReviewer>(ApiAccess{.server = api_.url(), .token = "t"}, "weft-control");
    parts.review = [reviewer](const std::string& token) { return reviewer->review(token); };
    parts.revocations = [this]() -> absl::StatusOr<std::string> {
      const std::lock_guard lock(mutex_);
      return revocations_;
    };
    parts.start_control_plane =
        [this](ControlPlane::Subscriber subscriber) -> absl::StatusOr<std::unique_ptr<ControlPlane>> {
      return start_kubernetes({.node_name = kAllNodes,
                               .kubeconfig = folder_.file("kubeconfig"),
                               .first_look = std::chrono::milliseconds(5)},
                              std::move(subscriber));
    };
    auto server = ControlServer::start(std::move(options), std::move(parts));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  ControlAccess access() const {
    return {.target = str_cat("127.0.0.1:", port_.number()),
            .authority_file = folder_.file("ca/ca.crt"),
            .token_file = folder_.file("token")};
  }
  RemoteOptions client_options(const std::string& node = "node1") const {
    return {.access = access(),
            .node_name = node,
            .first_limit = std::chrono::milliseconds(20'000),
            .backoff_min = std::chrono::milliseconds(10),
            .backoff_max = std::chrono::milliseconds(100)};
  }
  // Gives up when the server has refused two attempts, so that the client knows why the first one was.
  RemoteOptions refused_options(const std::string& reason) {
    RemoteOptions options = client_options();
    options.first_limit = kLimit;
    options.give_up = [this, reason] {
      const std::string text = metrics();
      size_t refusals = 0;
      for (const std::string& each : {reason, std::string("again")}) {
        const std::string name = str_cat("weft_control_refused_total{reason=\"", each, "\"} ");
        const size_t at = text.find(name);
        if (at != std::string::npos)
          refusals += static_cast<size_t>(std::atoi(text.c_str() + at + name.size()));
      }
      return refusals >= 2;
    };
    return options;
  }
  // The metrics page as a scraper gets it.
  std::string metrics() const { return get(server_->metrics_address(), "/metrics"); }
  static std::string get(const SocketAddress& address, const std::string& path) {
    sockaddr_storage storage{};
    const socklen_t length = address.to_sockaddr(&storage);
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) return "";
    const std::string request = str_cat("GET ", path, " HTTP/1.1\r\nHost: x\r\n\r\n");
    if (::send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return "";
    std::string out;
    char buffer[4096];
    for (ssize_t got = 0; (got = ::recv(socket.get(), buffer, sizeof(buffer), 0)) > 0;)
      out.append(buffer, static_cast<size_t>(got));
    return out;
  }
  absl::StatusOr<std::vector<std::string>> sign(const std::string& id) {
    ControlChannel channel(access());
    const std::string request = ::weft::test::request_pem(key_.get(), {.names = {{GEN_URI, id}}});
    return sign_remotely(channel, request, id, absl::Hours(1));
  }

  FakeApiServer api_;
  std::set<std::string> gateway_nodes_ = {"*"};
  const ::weft::test::ScratchFolder folder_;
  const harness::ReservedPort port_;
  const KeyPtr key_ = ::weft::test::p256_key();
  ::weft::test::Authority clients_;
  std::mutex mutex_;
  std::string refused_;
  absl::StatusOr<std::string> revocations_ = std::string();
  std::unique_ptr<ControlServer> server_;
};

}  // namespace weft::control_plane::test
