// A rig whose one route is written as weft.mesh.v1.HttpRoute text: what the proxy does with it is what it
// would do with the same route from a manifest. For the tests of traffic rules.
#pragma once

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>

#include "base/strings.h"
#include "tests/unit/proxy-engine/rig.h"
#include "userspace-proxy/config/validate.h"

namespace weft::proxy {

// Gives the snapshot's routes the matches and actions of `http`, which is a list of "http{…}" entries; those
// that forward keep the rig's clusters, in order of their destinations.
inline SnapshotPtr with_routes(const SnapshotPtr& base, const std::string& http) {
  weft::mesh::v1::RouteSet set;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(
      str_cat("name:'r' namespace:'n' hosts:'service' ", http), &set))
      << http;
  auto valid = validate(set);
  EXPECT_TRUE(valid.ok()) << valid.status() << "\n" << http;
  auto out = std::make_shared<Snapshot>(*base);
  if (!valid.ok()) return out;
  const auto spec = std::make_shared<const RouteSetSpec>(*std::move(valid));
  const auto made = std::make_shared<VirtualHost>(*out->virtual_hosts.front());
  out->virtual_hosts.front() = made;
  VirtualHost& host = *made;
  const Route forward = host.routes.front();
  host.routes.clear();
  host.owner = spec;
  for (const RouteSpec& one : spec->routes) {
    Route route{.name = one.name, .matches = one.matches, .action = one.action};
    for (size_t i = 0; i < one.destinations.size() && i < forward.clusters.size(); ++i) {
      route.clusters.push_back(forward.clusters[i]);
      route.clusters.back().weight = one.destinations[i].weight;
      route.clusters.back().action = one.destinations[i].action;
      route.total_weight += one.destinations[i].weight;
    }
    for (const MirrorSpec& mirror : one.mirrors) {
      for (uint32_t i = 0; i < out->clusters.size(); ++i) {
        if (out->clusters[i].name == mirror.destination.host)
          route.mirrors.push_back(RouteMirror{i, mirror.ppm});
      }
    }
    host.routes.push_back(std::move(route));
  }
  return out;
}

// A destination for such text.
inline constexpr char kTo[] = " destinations{host:'v1' weight:1} ";

// One worker between a client and a server that keeps what it gets.
class RouteRig {
 public:
  // `http`: see with_routes(). `more`: further clusters, behind the recording server's "v1".
  explicit RouteRig(const std::string& http, const std::vector<TestCluster>& more = {})
      : server_([this](TestConnection& c) { serve(c); }) {
    clusters_.push_back(TestCluster{.name = "v1", .endpoints = {server_.address()}});
    clusters_.insert(clusters_.end(), more.begin(), more.end());
    rig_ = std::make_unique<Rig>(
        Rig::Setup{.protocol = Protocol::kHttp, .clusters = clusters_, .options = {}, .with_route = true});
    rig_->use(with_routes(rig_->make_snapshot(clusters_, 2), http));
  }

  // The answer to one request on a connection of its own.
  std::string send(std::string_view request) {
    TestConnection client = rig_->connect();
    client.send(request);
    return client.read_message();
  }
  std::string get(std::string_view target, std::string_view fields = "") {
    return send(str_cat("GET ", target, " HTTP/1.1\r\nHost: service\r\n", fields, "\r\n"));
  }
  Rig& rig() { return *rig_; }
  const SocketAddress& server_address() const { return server_.address(); }
  int requests() const { return requests_; }
  // The request that the server got last; empty when none came.
  std::string seen() {
    std::lock_guard<std::mutex> lock(mutex_);
    return seen_;
  }

 private:
  void serve(TestConnection& c) {
    for (std::string request = c.read_message(); !request.empty(); request = c.read_message()) {
      ++requests_;
      {
        std::lock_guard<std::mutex> lock(mutex_);
        seen_ = std::move(request);
      }
      if (!c.send("HTTP/1.1 200 OK\r\nServer: test\r\nX-Up: 1\r\nContent-Length: 2\r\n\r\nok")) return;
    }
  }

  std::mutex mutex_;
  std::string seen_;
  std::atomic<int> requests_{0};
  TestServer server_;
  std::vector<TestCluster> clusters_;
  std::unique_ptr<Rig> rig_;
};

}  // namespace weft::proxy
