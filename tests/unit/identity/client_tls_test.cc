// TLS that the proxy begins by a DestinationRule: which servers it takes, what it shows them, and what they
// see of it.
#include "userspace-proxy/tls/client_tls.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "tests/unit/identity/openssl_peer.h"
#include "tests/unit/proxy-engine/loop_world.h"
#include "userspace-proxy/tls/tls_contexts.h"
#include "userspace-proxy/tls/tls_socket.h"

namespace weft::proxy {
namespace {

using test::OpensslPeer;

constexpr char kHost[] = "api.example.com";
constexpr char kWeb[] = "spiffe://cluster.local/ns/shop/sa/web";
constexpr char kDatabase[] = "spiffe://cluster.local/ns/shop/sa/database";

class ClientTlsTest : public LoopTest {
 protected:
  ClientTerms terms() const {
    ClientTerms out;
    out.roots = to_pem(authority_.certificate.get());
    out.sni = kHost;
    out.names = {kHost};
    return out;
  }
  test::Leaf leaf(test::LeafShape shape = {.names = {{GEN_DNS, kHost}}}) const {
    return test::make_leaf(authority_, shape);
  }
  struct Result {
    TlsFault fault = TlsFault::kTimeout;
    std::string problem;
    std::string sni, subject, answer, protocol;
  };
  // What comes of it with this server, which shows `own` and asks for a certificate where `asks`.
  Result with(const ClientTerms& wanted, const test::Leaf& own, std::string_view offers = "http/1.1",
              const char* alpn = "\x08http/1.1", bool asks = false) {
    Result out;
    std::string_view problem;
    const auto shared = std::make_shared<const ClientTerms>(wanted);
    const std::shared_ptr<ClientTls> profile = table_.find(shared, "pod", &problem);
    out.problem = problem;
    if (profile == nullptr) return out;
    Socket socket(*loop_);
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    EXPECT_EQ(::fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    EXPECT_TRUE(socket.open(UniqueFd(ends[0]), true));
    TlsPeer peer;
    peer.offers = offers;
    TlsSocket* tls = start_tls(*loop_, socket, profile, TlsRole::kClient, std::move(peer));
    OpensslPeer server(UniqueFd(ends[1]), {.server = true, .leaf = &own, .alpn = alpn, .asks = asks},
                       [&](SSL* ssl) {
                         const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
                         if (name != nullptr) out.sni = name;
                         X509* shown = SSL_get0_peer_certificate(ssl);
                         if (shown != nullptr) out.subject = serial_number(shown);
                         OpensslPeer::write(ssl, "hello");
                         OpensslPeer::read(ssl, 1);
                       });
    TestStep step;
    step.began(tls->handshake(step.operation));
    EXPECT_TRUE(turn_until([&] { return step.done; }));
    out.fault = tls->fault();
    out.protocol = tls->protocol();
    InputBuffer input(loop_->buffers());
    if (step.result == 0 && receive(socket, input) > 0) out.answer = input.unread();
    input.clear();
    socket.close();
    loop_->turn(0);
    server.join();
    return out;
  }

  const test::Authority authority_ = test::make_authority("theirs");
  TlsContexts mesh_;
  ClientTlsTable table_{mesh_};
};

TEST_P(ClientTlsTest, TheRightServerIsTakenAndHearsItsName) {
  const Result out = with(terms(), leaf());
  EXPECT_EQ(out.fault, TlsFault::kNoFault) << label(out.fault);
  EXPECT_EQ(out.answer, "hello");
  EXPECT_EQ(out.sni, kHost);
  EXPECT_EQ(out.protocol, "http/1.1");
  EXPECT_EQ(out.subject, "") << "nothing is shown";
}

TEST_P(ClientTlsTest, OthersAreRefusedEachForItsReason) {
  const auto fault = [&](const ClientTerms& wanted, const test::Leaf& own) {
    return with(wanted, own).fault;
  };
  const test::Authority other = test::make_authority("other");
  EXPECT_EQ(fault(terms(), test::make_leaf(other, {.names = {{GEN_DNS, kHost}}})), TlsFault::kUntrusted);
  EXPECT_EQ(fault(terms(), leaf({.names = {{GEN_DNS, "other.example.com"}}})), TlsFault::kWrongName);
  EXPECT_EQ(fault(terms(), leaf({.names = {{GEN_DNS, std::string(kHost) + std::string("\0.evil", 6)}}})),
            TlsFault::kWrongName);
  EXPECT_EQ(fault(terms(), leaf({.names = {{GEN_DNS, kHost}}, .from_seconds = -7200, .to_seconds = -3600})),
            TlsFault::kExpired);
  EXPECT_EQ(fault(terms(), leaf({.names = {{GEN_DNS, kHost}}, .from_seconds = 3600, .to_seconds = 7200})),
            TlsFault::kNotYetValid);
  EXPECT_EQ(fault(terms(), leaf({.names = {{GEN_DNS, kHost}}, .usage = "clientAuth"})),
            TlsFault::kWrongUsage);
  ClientTerms revoking = terms();
  const test::Leaf revoked = leaf();
  revoking.crls = test::crl_pem(authority_, {revoked.certificate.get()});
  EXPECT_EQ(fault(revoking, revoked), TlsFault::kRevoked);
  EXPECT_EQ(fault(revoking, leaf()), TlsFault::kNoFault);
  ClientTerms of_the_system = terms();
  of_the_system.roots = "";
  EXPECT_EQ(fault(of_the_system, leaf()), TlsFault::kUntrusted);
}

TEST_P(ClientTlsTest, NamesAreThoseThatTheRuleWants) {
  ClientTerms wanted = terms();
  wanted.names = {"spiffe://partner/api", "10.0.0.1"};
  EXPECT_EQ(with(wanted, leaf({.names = {{GEN_URI, "spiffe://partner/api"}}})).fault, TlsFault::kNoFault);
  EXPECT_EQ(with(wanted, leaf()).fault, TlsFault::kWrongName);
  EXPECT_EQ(with(terms(), leaf({.names = {{GEN_DNS, "*.example.com"}}})).fault, TlsFault::kNoFault);
  EXPECT_EQ(with(terms(), leaf({.names = {{GEN_DNS, "*.com"}}})).fault, TlsFault::kWrongName);
  wanted.verifies = false;
  const test::Authority other = test::make_authority("other");
  EXPECT_EQ(with(wanted, test::make_leaf(other, {.names = {{GEN_DNS, "x"}}})).fault, TlsFault::kNoFault);
  ClientTerms nameless = terms();
  nameless.names = {};
  EXPECT_THAT(with(nameless, leaf()).problem, ::testing::HasSubstr("no name"));
  wanted = terms();
  wanted.sni = "10.0.0.1";
  EXPECT_EQ(with(wanted, leaf()).sni, "") << "an address is no server name";
}

TEST_P(ClientTlsTest, AServerThatWantsACertificateGetsTheOneOfTheSecret) {
  const test::Leaf own = test::make_leaf(authority_, {.names = {{GEN_DNS, "client"}}});
  ClientTerms mutual = terms();
  mutual.mode = ClientTlsMode::kMutual;
  mutual.pair = {to_pem(own.certificate.get()), test::key_pem(own.key.get())};
  const Result out = with(mutual, leaf(), "http/1.1", "\x08http/1.1", true);
  EXPECT_EQ(out.fault, TlsFault::kNoFault) << label(out.fault);
  EXPECT_EQ(out.subject, serial_number(own.certificate.get()));
  EXPECT_EQ(with(terms(), leaf(), "http/1.1", "\x08http/1.1", true).answer, "")
      << "without it nothing is said";
  const test::Leaf another = test::make_leaf(authority_, {.names = {{GEN_DNS, "client"}}});
  mutual.pair.key = test::key_pem(another.key.get());
  EXPECT_THAT(with(mutual, leaf()).problem, ::testing::HasSubstr("key"));
}

TEST_P(ClientTlsTest, AServerWithoutHttp2GetsNone) {
  EXPECT_EQ(with(terms(), leaf(), "h2", "\x02h2").protocol, "h2");
  EXPECT_EQ(with(terms(), leaf(), "h2", "").fault, TlsFault::kNoProtocol);
  EXPECT_EQ(with(terms(), leaf(), "http/1.1", "").fault, TlsFault::kNoFault) << "it need not say so";
  EXPECT_EQ(with(terms(), leaf(), "", "\x02h2").protocol, "") << "TCP offers nothing";
}

TEST_P(ClientTlsTest, TheMeshsOwnIdentityIsShownAndThatOfTheServerWanted) {
  ClientTerms mesh;
  mesh.mode = ClientTlsMode::kMesh;
  mesh.names = {kDatabase};
  EXPECT_THAT(with(mesh, leaf()).problem, ::testing::HasSubstr("no certificate of the mesh"));
  const test::Leaf own = test::make_leaf(authority_, {.names = {{GEN_URI, kWeb}}});
  const std::string chain[] = {to_pem(own.certificate.get()), to_pem(authority_.certificate.get())};
  const auto credentials = make_credentials(*SpiffeId::parse(kWeb), share(own.key.get()), chain, "");
  ASSERT_TRUE(credentials.ok()) << credentials.status();
  auto set = std::make_shared<CredentialSet>();
  set->by_id.emplace(*SpiffeId::parse(kWeb), *credentials);
  set->by_workload.emplace("pod", *credentials);
  mesh_.replace(set);
  const test::Leaf server = test::make_leaf(authority_, {.names = {{GEN_URI, kDatabase}}});
  const Result out = with(mesh, server, "http/1.1", "", true);
  EXPECT_EQ(out.fault, TlsFault::kNoFault) << label(out.fault);
  EXPECT_EQ(out.subject, serial_number(own.certificate.get()));
  const test::Leaf another = test::make_leaf(authority_, {.names = {{GEN_URI, kWeb}}});
  EXPECT_EQ(with(mesh, another, "http/1.1", "", true).fault, TlsFault::kWrongName);
}

TEST_P(ClientTlsTest, AContextServesAllThatHaveTheSameTermsAndGoesWithThem) {
  auto one = std::make_shared<const ClientTerms>(terms()), two = std::make_shared<const ClientTerms>(terms());
  std::string_view problem;
  auto first = table_.find(one, "pod", &problem);
  EXPECT_EQ(table_.find(one, "other", &problem), first);
  EXPECT_EQ(table_.find(two, "pod", &problem), first);
  std::weak_ptr<ClientTls> gone = first;
  one.reset();
  two.reset();
  ClientTerms other = terms();
  other.sni = "other";
  first.reset();
  EXPECT_NE(table_.find(std::make_shared<const ClientTerms>(other), "pod", &problem), nullptr);
  EXPECT_TRUE(gone.expired());
}

INSTANTIATE_TEST_SUITE_P(, ClientTlsTest, testing::Values(IoKind::kEpoll, IoKind::kUring),
                         [](const auto& each) { return each.param == IoKind::kEpoll ? "Epoll" : "Uring"; });

}  // namespace
}  // namespace weft::proxy
