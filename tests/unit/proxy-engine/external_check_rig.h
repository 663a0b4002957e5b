// Connections into a pod that a policy of CUSTOM selects, and the providers that are asked about them:
// sockets of the loopback that the test answers for.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "proto/weft/mesh/v1/mesh_config.pb.h"
#include "proto/xds/external_auth.pb.h"
#include "tests/unit/proxy-engine/http2_peers.h"
#include "tests/unit/proxy-engine/plain_inbound_rig.h"
#include "tests/unit/proxy-engine/policy_messages.h"
#include "userspace-proxy/exchange/external_check.h"

namespace weft::proxy {

inline std::string get(std::string_view path, std::string_view fields = "") {
  return str_cat("GET ", path, " HTTP/1.1\r\nHost: shop\r\n", fields, "\r\n");
}
inline std::string post(std::string_view path, std::string_view body) {
  return str_cat("POST ", path, " HTTP/1.1\r\nHost: shop\r\nContent-Length: ", body.size(), "\r\n\r\n", body);
}
inline constexpr char kAnswer[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanswer";
inline constexpr char kYes[] = "HTTP/1.1 200 OK\r\nx-user: me\r\nContent-Length: 0\r\n\r\n";
inline constexpr char kNo[] = "HTTP/1.1 401 Unauthorized\r\nx-why: you\r\nContent-Length: 4\r\n\r\nnope";
inline constexpr uint64_t kTimeoutMs = 2'000;

class ExternalCheckTest : public PlainInboundTest {
 protected:
  void SetUp() override {
    message_.set_name("ask");
    message_.set_host("authz");
    message_.set_port(9000);
    message_.set_timeout_ms(kTimeoutMs);
    auto& http = *message_.mutable_http();
    http.add_fields_to_upstream()->set_exact("x-user");
    provider_ = listen_at(own_loopback(), 0, &provider_address_);
    other_ = listen_at(own_loopback(), 0, &other_address_);
    PlainInboundTest::SetUp();
  }

  void extend(Snapshot& snapshot) override {
    const auto compiled = ExternalProvider::compile(message_);
    ASSERT_TRUE(compiled.ok()) << compiled.status();
    snapshot.providers.emplace("ask", *compiled);
    if (!served_) return;
    Cluster cluster{.name = "authz|9000|", .policy = nullptr};
    cluster.endpoints.push_back(Endpoint{.address = provider_address_});
    snapshot.clusters.push_back(std::move(cluster));
    snapshot.provider_clusters.emplace(Snapshot::HostKey{"shop", 0, "ask"}, 0);
    snapshot.providers.emplace("other", *compiled);
    Cluster other{.name = "other|9000|", .policy = nullptr};
    other.endpoints.push_back(Endpoint{.address = other_address_});
    snapshot.clusters.push_back(std::move(other));
    snapshot.provider_clusters.emplace(Snapshot::HostKey{"shop", 0, "other"}, 1);
  }

  FarEnd accept_provider() { return accept_at(provider_); }
  FarEnd accept_at(const UniqueFd& listener) {
    UniqueFd fd;
    EXPECT_TRUE(until([&] {
      fd.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      return fd.valid();
    }));
    return FarEnd(std::move(fd));
  }
  bool nobody_asked() { return ::accept4(provider_.get(), nullptr, nullptr, 0) == -1; }

  weft::mesh::v1::ExternalProvider message_;
  bool served_ = true;
  UniqueFd provider_, other_;
  SocketAddress provider_address_, other_address_;
};

}  // namespace weft::proxy
