// Clients that speak TLS with a gateway's port, through a real worker; they are OpenSSL and nothing of ours.
// Which certificate they see, whom the port refuses, and that what is decrypted is routed as any request.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/unit/proxy-engine/gateway_tls_rig.h"
#include "tests/unit/proxy-engine/policy_messages.h"

namespace weft::proxy {
namespace {

using test::OpensslPeer;

class GatewayTlsListenerTest : public GatewayTlsRig {};

TEST_F(GatewayTlsListenerTest, RequestsAreDecryptedAndRouted) {
  serve({{"a.example", terms("a.example")}});
  EXPECT_EQ(get(client("a.example"), "a.example"), ok_response("inside"));
}

TEST_F(GatewayTlsListenerTest, TheServerNameChoosesTheCertificate) {
  serve({{"a.example", terms("a.example")}, {".example", terms("wide.example")}, {"", terms("any")}});
  const auto name_for = [&](const char* name) {
    std::string seen;
    OpensslPeer peer(dial(), client(name), [&](SSL* ssl) { seen = shown_name(ssl); });
    peer.join();
    return seen;
  };
  EXPECT_EQ(name_for("a.example"), "a.example");
  EXPECT_EQ(name_for("b.example"), "wide.example");
  EXPECT_EQ(name_for("elsewhere"), "any");
  EXPECT_EQ(name_for(nullptr), "any");
}

TEST_F(GatewayTlsListenerTest, ANameThatNobodyHasIsRefused) {
  serve({{"a.example", terms("a.example")}});
  EXPECT_EQ(get(client("b.example"), "b.example"), "");
  EXPECT_EQ(get(client(nullptr), "a.example"), "");
}

TEST_F(GatewayTlsListenerTest, Http2IsChosenByAlpn) {
  serve({{"a.example", terms("a.example")}});
  OpensslPeer::Setup setup = client("a.example");
  setup.alpn = "\x02h2\x08http/1.1";
  std::string frame;
  OpensslPeer peer(dial(), setup, [&](SSL* ssl) {
    OpensslPeer::write(
        ssl, std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") + std::string("\0\0\0\4\0\0\0\0\0", 9));
    frame = OpensslPeer::read(ssl, 9);
  });
  peer.join();
  ASSERT_EQ(frame.size(), 9u);
  EXPECT_EQ(frame[3], 4) << "the first frame is SETTINGS";
  // Who offers nothing that is spoken gets HTTP/1.1.
  setup.alpn =
      "\x03"
      "foo";
  EXPECT_EQ(get(setup, "a.example"), ok_response("inside"));
}

TEST_F(GatewayTlsListenerTest, ClientsWithoutTheRightCertificateAreRefused) {
  const test::Leaf good = test::make_leaf(clients_of_, {.names = {{GEN_DNS, "robot"}}});
  const test::Leaf other = test::make_leaf(clients_of_, {.names = {{GEN_DNS, "else"}}});
  const test::Leaf foreign = test::make_leaf(authority_, {.names = {{GEN_DNS, "robot"}}});
  const test::Leaf expired =
      test::make_leaf(clients_of_, {.names = {{GEN_DNS, "robot"}}, .from_seconds = -100, .to_seconds = -10});
  const test::Leaf revoked = test::make_leaf(clients_of_, {.names = {{GEN_DNS, "robot"}}});
  auto server = mutual(terms("a.example"), clients_of_);
  server->client_names = {"robot"};
  server->crls = test::crl_pem(clients_of_, {revoked.certificate.get()});
  serve({{"a.example", server}});
  const auto with = [&](const test::Leaf* leaf) {
    OpensslPeer::Setup setup = client("a.example");
    setup.leaf = leaf;
    return get(setup, "a.example");
  };
  EXPECT_EQ(with(&good), ok_response("inside"));
  EXPECT_EQ(with(nullptr), "");
  EXPECT_EQ(with(&other), "");
  EXPECT_EQ(with(&foreign), "");
  EXPECT_EQ(with(&expired), "");
  EXPECT_EQ(with(&revoked), "");
}

TEST_F(GatewayTlsListenerTest, WhoNeedNotShowACertificateShowsNoneOrAGoodOne) {
  const test::Leaf good = test::make_leaf(clients_of_, {.names = {{GEN_DNS, "robot"}}});
  const test::Leaf other = test::make_leaf(clients_of_, {.names = {{GEN_DNS, "else"}}});
  const test::Leaf foreign = test::make_leaf(authority_, {.names = {{GEN_DNS, "robot"}}});
  auto server = mutual(terms("a.example"), clients_of_);
  server->client_names = {"robot"};
  server->optional = true;
  serve({{"a.example", server}});
  const auto with = [&](const test::Leaf* leaf) {
    OpensslPeer::Setup setup = client("a.example");
    setup.leaf = leaf;
    return get(setup, "a.example");
  };
  EXPECT_EQ(with(nullptr), ok_response("inside"));
  EXPECT_EQ(with(&good), ok_response("inside"));
  EXPECT_EQ(with(&other), "");
  EXPECT_EQ(with(&foreign), "");
  EXPECT_FALSE(server->admits_as(*mutual(terms("a.example"), clients_of_)));
}

TEST_F(GatewayTlsListenerTest, VersionsHaveLimits) {
  auto modern = terms("b.example");
  modern->min = TlsVersion::k13;
  auto old = terms("c.example");
  old->max = TlsVersion::k12;
  serve({{"a.example", terms("a.example")}, {"b.example", modern}, {"c.example", old}});
  const auto version = [&](const char* name, int most) {
    std::string seen;
    OpensslPeer::Setup setup = client(name);
    setup.max_version = most;
    OpensslPeer peer(dial(), setup, [&](SSL* ssl) { seen = SSL_get_version(ssl); });
    peer.join();
    return seen;
  };
  EXPECT_EQ(version("a.example", TLS1_2_VERSION), "TLSv1.2");
  EXPECT_EQ(version("a.example", TLS1_3_VERSION), "TLSv1.3");
  EXPECT_EQ(version("b.example", TLS1_2_VERSION), "");
  EXPECT_EQ(version("b.example", TLS1_3_VERSION), "TLSv1.3");
  EXPECT_EQ(version("c.example", TLS1_3_VERSION), "TLSv1.2");
}

// Else who has no certificate could have what asks for one, by a connection to what does not.
TEST_F(GatewayTlsListenerTest, ARequestIsForTheListenerThatItsConnectionWasMadeTo) {
  serve({{"a.example", terms("a.example")}, {"b.example", mutual(terms("b.example"), clients_of_)}});
  EXPECT_TRUE(get(client("a.example"), "b.example").starts_with("HTTP/1.1 421"));
  EXPECT_TRUE(get(client("a.example"), "elsewhere").starts_with("HTTP/1.1 421"));
  EXPECT_EQ(get(client("a.example"), "A.Example:8443"), ok_response("inside"));
  EXPECT_EQ(rig_.sink().wait(1).at(0).outcome, Outcome::kMisdirected);
}

TEST_F(GatewayTlsListenerTest, WhatHasNoCertificateRefusesHandshakesAndOthersGoOn) {
  auto broken = terms("b.example");
  broken->problem = "Secret shop/b is unknown; next: add it";
  auto unusable = terms("c.example");
  unusable->certificates.front().key = "nonsense";
  serve({{"a.example", terms("a.example")}, {"b.example", broken}, {"c.example", unusable}});
  for (const char* name : {"b.example", "c.example"}) {
    OpensslPeer peer(dial(), client(name));
    peer.join();
    EXPECT_FALSE(peer.shook_hands());
    EXPECT_NE(peer.error().find("handshake failure"), std::string::npos) << peer.error();
  }
  EXPECT_EQ(get(client("a.example"), "a.example"), ok_response("inside"));
}

TEST_F(GatewayTlsListenerTest, AChangedSecretIsForNewHandshakes) {
  const auto before = terms("a.example");
  serve({{"a.example", before}});
  std::string first, second, shown;
  OpensslPeer live(dial(), client("a.example"), [&](SSL* ssl) {
    first = ask(ssl, "a.example");
    auto after = std::make_shared<ServerTerms>(*before);
    after->certificates = {pair_of(test::make_leaf(authority_, {.names = {{GEN_DNS, "new.example"}}}))};
    serve({{"a.example", after}});
    second = ask(ssl, "a.example");
  });
  live.join();
  EXPECT_EQ(first, ok_response("inside"));
  EXPECT_EQ(second, ok_response("inside")) << "the live connection stays";
  OpensslPeer next(dial(), client("a.example"), [&](SSL* ssl) { shown = shown_name(ssl); });
  next.join();
  EXPECT_EQ(shown, "new.example");
}

// Who came in without a certificate does not stay where one is asked for.
TEST_F(GatewayTlsListenerTest, DecryptedConnectionsEndWithWhatAdmittedThem) {
  auto before = terms("a.example");
  before->opaque = true;
  serve({{"a.example", before}});
  std::string first, second, rest = "not read";
  OpensslPeer live(dial(), client("a.example"), [&](SSL* ssl) {
    first = ask(ssl, "a.example");
    serve({{"a.example", std::make_shared<ServerTerms>(*before)}});
    second = ask(ssl, "a.example");
    serve({{"a.example", mutual(std::make_shared<ServerTerms>(*before), clients_of_)}});
    rest = OpensslPeer::read(ssl, 1);
  });
  live.join();
  EXPECT_EQ(first, ok_response("inside"));
  EXPECT_EQ(second, ok_response("inside")) << "what asks the same of clients keeps them";
  EXPECT_EQ(rest, "");
  EXPECT_EQ(rig_.sink().wait(1).at(0).outcome, Outcome::kMisdirected);
}

TEST_F(GatewayTlsListenerTest, ClientsAreSentAwayByAnswersWhenTheirListenerAsksSomethingElse) {
  const auto before = terms("a.example");
  serve({{"a.example", before}});
  std::string first, rest;
  OpensslPeer live(dial(), client("a.example"), [&](SSL* ssl) {
    first = ask(ssl, "a.example");
    serve({{"a.example", mutual(std::make_shared<ServerTerms>(*before), clients_of_)}});
    OpensslPeer::write(ssl, request("a.example"));
    rest = OpensslPeer::read(ssl, 4096);
  });
  live.join();
  EXPECT_EQ(first, ok_response("inside"));
  EXPECT_TRUE(rest.starts_with("HTTP/1.1 421")) << rest;
  EXPECT_NE(rest.find("onnection: close"), std::string::npos) << rest;
}

TEST_F(GatewayTlsListenerTest, Http2SaysGoawayWhenItsListenerAsksSomethingElse) {
  const auto before = terms("a.example");
  serve({{"a.example", before}});
  OpensslPeer::Setup setup = client("a.example");
  setup.alpn = "\x02h2";
  std::string frames;
  OpensslPeer live(dial(), setup, [&](SSL* ssl) {
    OpensslPeer::write(
        ssl, std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") + std::string("\0\0\0\4\0\0\0\0\0", 9));
    frames = OpensslPeer::read(ssl, 9);
    serve({{"a.example", mutual(std::make_shared<ServerTerms>(*before), clients_of_)}});
    frames += OpensslPeer::read(ssl, 4096);
  });
  live.join();
  std::string types;
  for (size_t at = 0; at + 9 <= frames.size();) {
    const auto byte = [&](size_t i) {
      return static_cast<size_t>(static_cast<unsigned char>(frames[at + i]));
    };
    types += static_cast<char>('0' + byte(3));
    at += 9 + (byte(0) << 16 | byte(1) << 8 | byte(2));
  }
  EXPECT_NE(types.find('7'), std::string::npos) << "GOAWAY among " << types;
}

TEST_F(GatewayTlsListenerTest, SessionsAreResumedForTheirListenerOnly) {
  auto other = terms("b.example");
  serve({{"a.example", terms("a.example")}, {"b.example", other}});
  SSL_SESSION* session = nullptr;
  OpensslPeer first(dial(), client("a.example"), [&](SSL* ssl) {
    ask(ssl, "a.example");
    session = SSL_get1_session(ssl);
    // The library resumes nothing that did not end well.
    SSL_shutdown(ssl);
  });
  first.join();
  ASSERT_NE(session, nullptr);
  const auto resumed = [&](const char* name) {
    OpensslPeer::Setup setup = client(name);
    setup.session = session;
    OpensslPeer peer(dial(), setup, [&](SSL* ssl) { ask(ssl, name); });
    peer.join();
    return peer.resumed();
  };
  EXPECT_TRUE(resumed("a.example"));
  EXPECT_FALSE(resumed("b.example"));
  SSL_SESSION_free(session);
}

TEST_F(GatewayTlsListenerTest, PoliciesKnowTheServerNameOfTheHandshake) {
  auto rules = std::make_shared<GatewayRules>();
  rules->policies = std::make_shared<const PolicySet>(
      std::vector<AuthorizationPtr>{about_server_name(istio::security::ALLOW, "a.example")});
  rules_ = rules;
  auto opaque = terms("tcp.example");
  opaque->opaque = true;
  serve({{"a.example", terms("a.example")}, {"b.example", terms("b.example")}, {"tcp.example", opaque}});
  EXPECT_EQ(get(client("a.example"), "a.example"), ok_response("inside"));
  EXPECT_TRUE(get(client("b.example"), "b.example").starts_with("HTTP/1.1 403"));
  EXPECT_EQ(get(client("tcp.example"), "tcp.example"), "");
  rules = std::make_shared<GatewayRules>();
  rules->policies = std::make_shared<const PolicySet>(
      std::vector<AuthorizationPtr>{about_server_name(istio::security::DENY, "a.example")});
  rules_ = rules;
  serve({{"a.example", terms("a.example")}, {"b.example", terms("b.example")}, {"tcp.example", opaque}});
  EXPECT_TRUE(get(client("a.example"), "a.example").starts_with("HTTP/1.1 403"));
  EXPECT_EQ(get(client("b.example"), "b.example"), ok_response("inside"));
  EXPECT_EQ(get(client("tcp.example"), "tcp.example"), ok_response("inside"));
}

// Decrypted bytes are none of the connections that are passed through by the same name.
TEST_F(GatewayTlsListenerTest, WhatIsNoHttpGoesNowhereElse) {
  serve({{"a.example", terms("a.example")}});
  std::string got = "nothing read";
  OpensslPeer peer(dial(), client("a.example"), [&](SSL* ssl) {
    OpensslPeer::write(ssl, "\x01\x02\x03\x04\r\n\r\n");
    got = OpensslPeer::read(ssl, 1);
  });
  peer.join();
  EXPECT_EQ(got, "");
  EXPECT_EQ(rig_.sink().wait(1).at(0).outcome, Outcome::kNoRoute);
  EXPECT_EQ(server_.connections(), 0);
}

}  // namespace
}  // namespace weft::proxy
