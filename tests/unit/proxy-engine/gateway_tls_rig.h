// A gateway's port that ends TLS, through a real worker; its clients are OpenSSL and nothing of ours.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/strings.h"
#include "tests/unit/identity/openssl_peer.h"
#include "tests/unit/proxy-engine/rig.h"
#include "userspace-proxy/config/gateway_rules.h"

namespace weft::proxy {

inline constexpr char kHttp1[] = "\x08http/1.1";

// A gateway's port that ends TLS, in front of one server that answers "inside".
class GatewayTlsRig : public testing::Test {
 protected:
  GatewayTlsRig()
      : server_([this](TestConnection& connection) { answer(connection); }),
        rig_(setup_for(server_.address())) {
    listener_ = listen_on_loopback(&address_);
    fcntl(listener_.get(), F_SETFL, O_NONBLOCK);
  }

  // The request's head is what the endpoint saw last.
  void answer(TestConnection& connection) {
    for (;;) {
      std::string head = connection.read_until("\r\n\r\n");
      if (head.empty() || !connection.send(ok_response("inside"))) return;
    }
  }

  static TlsKeyPair pair_of(const test::Leaf& leaf) {
    return {to_pem(leaf.certificate.get()), test::key_pem(leaf.key.get())};
  }
  std::shared_ptr<ServerTerms> terms(const std::string& name) const {
    auto out = std::make_shared<ServerTerms>();
    out->name = str_cat("Gateway shop/edge ", name);
    out->certificates = {pair_of(test::make_leaf(authority_, {.names = {{GEN_DNS, name}}}))};
    return out;
  }
  static std::shared_ptr<ServerTerms> mutual(std::shared_ptr<ServerTerms> terms,
                                             const test::Authority& clients) {
    terms->mutual = true;
    terms->roots = to_pem(clients.certificate.get());
    return terms;
  }

  // `servers`: by server name. Their hosts' requests go to the endpoint, and connections that are opaque.
  void serve(const std::vector<std::pair<std::string, std::shared_ptr<const ServerTerms>>>& servers) {
    auto snapshot = std::make_shared<Snapshot>(*rig_.make_snapshot(clusters_, ++generation_));
    snapshot->gateway_ports[address_.port] = {.kind = GatewayPort::Kind::kTls};
    const auto l4_host = static_cast<uint32_t>(snapshot->l4_hosts.size());
    snapshot->l4_hosts.push_back(
        {.name = "edge",
         .resource = "edge",
         .tls = {},
         .tcp = {
             {.name = "all", .index = 0, .matches = {}, .clusters = {{.cluster = 0}}, .total_weight = 1}}});
    for (const auto& [name, terms] : servers) {
      const Snapshot::HostKey key{"", address_.port, name};
      snapshot->gateway_server_by_name[key] = static_cast<uint32_t>(snapshot->gateway_servers.size());
      snapshot->gateway_servers.push_back({.tls = terms, .l4_host = terms->opaque ? l4_host : kNone});
      snapshot->gateway_host_by_host[Snapshot::HostKey{terms->name, address_.port, name}] = 0;
    }
    if (rules_ != nullptr) {
      snapshot->gateway_rules.emplace(snapshot->virtual_hosts.front().get(), rules_);
      for (GatewayServer& server : snapshot->gateway_servers) server.rules = rules_;
    }
    rig_.use(std::move(snapshot));
    if (!listener_.valid()) return;
    rig_.worker().add_listener({.netns_cookie = 99,
                                .workload_uid = "weft.dev/gateway",
                                .netns = {},
                                .listener = std::move(listener_)});
  }

  UniqueFd dial() const {
    const TestConnection client = TestConnection::to(address_);
    return UniqueFd(::fcntl(client.fd(), F_DUPFD_CLOEXEC, 0));
  }
  static std::string request(const std::string& host) {
    return str_cat("GET / HTTP/1.1\r\nHost: ", host, "\r\n\r\n");
  }
  static std::string ask(SSL* ssl, const std::string& host) {
    test::OpensslPeer::write(ssl, request(host));
    return test::OpensslPeer::read(ssl, ok_response("inside").size());
  }
  test::OpensslPeer::Setup client(const char* name) const {
    return {.trusts = {authority_.certificate.get()}, .alpn = kHttp1, .server_name = name};
  }
  // The first bytes of the response to a request of that host; empty when there was none.
  std::string get(test::OpensslPeer::Setup setup, const std::string& host) {
    std::string response;
    test::OpensslPeer peer(dial(), std::move(setup), [&](SSL* ssl) { response = ask(ssl, host); });
    peer.join();
    return response;
  }

  const test::Authority authority_ = test::make_authority("public");
  const test::Authority clients_of_ = test::make_authority("clients");
  TestServer server_;
  std::vector<TestCluster> clusters_ = one_endpoint(server_.address());
  Rig rig_;
  SocketAddress address_;
  UniqueFd listener_;
  uint64_t generation_ = 1;
  std::shared_ptr<const GatewayRules> rules_;  // of all hosts and servers; null: none
};

// The name in the certificate that the other side showed.
inline std::string shown_name(SSL* ssl) {
  const NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(SSL_get0_peer_certificate(ssl), NID_subject_alt_name, nullptr, nullptr)));
  if (names == nullptr || sk_GENERAL_NAME_num(names.get()) == 0) return "";
  const ASN1_STRING* text = sk_GENERAL_NAME_value(names.get(), 0)->d.dNSName;
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<size_t>(ASN1_STRING_length(text))};
}

}  // namespace weft::proxy
