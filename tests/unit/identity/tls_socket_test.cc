// TlsSocket on both backends: bytes both ways against OpenSSL, and the peers that are refused, each for its
// reason and on either side of the connection.
#include "userspace-proxy/tls/tls_socket.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "tests/unit/identity/openssl_peer.h"
#include "tests/unit/proxy-engine/loop_world.h"
#include "userspace-proxy/tls/tls_contexts.h"

namespace weft::proxy {
namespace {

using test::OpensslPeer;

constexpr char kWeb[] = "spiffe://cluster.local/ns/shop/sa/web";
constexpr char kDatabase[] = "spiffe://cluster.local/ns/shop/sa/database";
constexpr char kForeign[] = "spiffe://elsewhere/ns/shop/sa/database";

test::Names only(const std::string& uri) { return {{GEN_URI, uri}}; }

class TlsTest : public LoopTest {
 protected:
  // Issued by `between`, or by the root.
  std::shared_ptr<TlsContext> context(const std::string& id, std::string_view crls = {},
                                      const test::Authority* between = nullptr) {
    const test::Leaf leaf = test::make_leaf(between == nullptr ? authority_ : *between, {.names = only(id)});
    std::vector<std::string> chain{to_pem(leaf.certificate.get())};
    if (between != nullptr) chain.push_back(to_pem(between->certificate.get()));
    chain.push_back(to_pem(authority_.certificate.get()));
    auto credentials = make_credentials(*SpiffeId::parse(id), share(leaf.key.get()), chain, crls);
    EXPECT_TRUE(credentials.ok()) << credentials.status();
    return *TlsContext::make(*credentials);
  }
  // Our end is open in `ours`.
  UniqueFd pair(Socket& ours) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    EXPECT_EQ(::fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    EXPECT_TRUE(ours.open(UniqueFd(ends[0]), true));
    return UniqueFd(ends[1]);
  }
  int handshake(TlsSocket& tls) {
    TestStep step;
    step.began(tls.handshake(step.operation));
    EXPECT_TRUE(turn_until([&] { return step.done; }));
    return step.result;
  }
  std::string receive_all(Socket& socket, size_t bytes) {
    std::string out;
    InputBuffer input(loop_->buffers());
    while (out.size() < bytes) {
      if (receive(socket, input) <= 0) break;
      out += input.unread();
      input.clear();
    }
    return out;
  }
  // What our side says of a peer with this leaf; `as` is our role. The peer's own handshake may look good to
  // it: it learns by an alert.
  TlsFault verdict(TlsRole as, const test::Leaf* leaf, std::string_view crls = {},
                   const char* expected = kDatabase) {
    Socket socket(*loop_);
    UniqueFd fd = pair(socket);
    TlsPeer peer;
    if (as == TlsRole::kClient) peer.expected = {*SpiffeId::parse(expected)};
    TlsSocket* tls = start_tls(*loop_, socket, context(kWeb, crls), as, std::move(peer));
    OpensslPeer other(std::move(fd), {.server = as == TlsRole::kClient, .leaf = leaf},
                      [](SSL* ssl) { OpensslPeer::read(ssl, 1); });
    handshake(*tls);
    const TlsFault fault = tls->fault();
    socket.close();
    loop_->turn(0);
    other.join();
    return fault;
  }

  const test::Authority authority_ = test::make_authority("mesh");
};

TEST_P(TlsTest, BytesGoBothWaysAndEndWithAnEndInsideOfTls) {
  const test::Leaf leaf = test::make_leaf(authority_, {.names = only(kDatabase)});
  Socket socket(*loop_);
  UniqueFd fd = pair(socket);
  const std::string large = numbered(3 * 1024 * 1024 + 17);
  std::string got;
  OpensslPeer peer(std::move(fd), {.server = true, .leaf = &leaf, .trusts = {authority_.certificate.get()}},
                   [&](SSL* ssl) {
                     got = OpensslPeer::read(ssl, large.size());
                     OpensslPeer::write(ssl, large);
                     SSL_shutdown(ssl);
                   });
  TlsSocket* tls = start_tls(*loop_, socket, context(kWeb), TlsRole::kClient,
                             TlsPeer{.expected = {*SpiffeId::parse(kDatabase)}});
  ASSERT_EQ(handshake(*tls), 0) << label(tls->fault());
  EXPECT_EQ(tls->peer().to_string(), kDatabase);
  EXPECT_EQ(send(socket, large), 0);
  EXPECT_TRUE(receive_all(socket, large.size()) == large);
  InputBuffer input(loop_->buffers());
  EXPECT_EQ(receive(socket, input), 0);
  peer.join();
  EXPECT_TRUE(got == large);
}

TEST_P(TlsTest, AServerKnowsWhoCalls) {
  const test::Leaf leaf = test::make_leaf(authority_, {.names = only(kDatabase)});
  Socket socket(*loop_);
  UniqueFd fd = pair(socket);
  std::string got;
  OpensslPeer peer(std::move(fd), {.leaf = &leaf, .trusts = {authority_.certificate.get()}}, [&](SSL* ssl) {
    OpensslPeer::write(ssl, "question");
    got = OpensslPeer::read(ssl, 6);
  });
  TlsSocket* tls = start_tls(*loop_, socket, context(kWeb), TlsRole::kServer, {});
  ASSERT_EQ(handshake(*tls), 0) << label(tls->fault());
  EXPECT_EQ(tls->peer().to_string(), kDatabase);
  EXPECT_EQ(receive_all(socket, 8), "question");
  EXPECT_EQ(send(socket, "answer"), 0);
  peer.join();
  EXPECT_EQ(got, "answer");
}

TEST_P(TlsTest, ManySmallPiecesArriveInOrder) {
  const test::Leaf leaf = test::make_leaf(authority_, {.names = only(kDatabase)});
  Socket socket(*loop_);
  UniqueFd fd = pair(socket);
  std::string got;
  OpensslPeer peer(std::move(fd), {.server = true, .leaf = &leaf},
                   [&](SSL* ssl) { got = OpensslPeer::read(ssl, 40 * 777); });
  TlsSocket* tls = start_tls(*loop_, socket, context(kWeb), TlsRole::kClient, {});
  ASSERT_EQ(handshake(*tls), 0) << label(tls->fault());
  const std::string all = numbered(40 * 777);
  std::vector<iovec> pieces;
  for (size_t i = 0; i < 40; ++i) pieces.push_back({const_cast<char*>(all.data()) + i * 777, 777});
  TestStep step;
  step.began(socket.send(step.operation, pieces));
  ASSERT_TRUE(turn_until([&] { return step.done; }));
  EXPECT_EQ(step.result, 0);
  peer.join();
  EXPECT_TRUE(got == all);
}

TEST_P(TlsTest, AConnectionThatIsCutIsNoEnd) {
  const test::Leaf leaf = test::make_leaf(authority_, {.names = only(kDatabase)});
  Socket socket(*loop_);
  UniqueFd fd = pair(socket);
  OpensslPeer peer(std::move(fd), {.server = true, .leaf = &leaf},
                   [](SSL* ssl) { OpensslPeer::write(ssl, "half a mess"); });
  TlsSocket* tls = start_tls(*loop_, socket, context(kWeb), TlsRole::kClient, {});
  ASSERT_EQ(handshake(*tls), 0);
  EXPECT_EQ(receive_all(socket, 11), "half a mess");
  InputBuffer input(loop_->buffers());
  EXPECT_LT(receive(socket, input), 0);
  EXPECT_EQ(tls->fault(), TlsFault::kTruncated);
}

TEST_P(TlsTest, ACertificateOfAnotherAuthorityIsRefused) {
  const test::Authority other = test::make_authority("mesh");
  const test::Leaf leaf = test::make_leaf(other, {.names = only(kDatabase)});
  EXPECT_EQ(verdict(TlsRole::kClient, &leaf), TlsFault::kUntrusted);
  EXPECT_EQ(verdict(TlsRole::kServer, &leaf), TlsFault::kUntrusted);
}

TEST_P(TlsTest, AnExpiredCertificateIsRefused) {
  const test::Leaf leaf =
      test::make_leaf(authority_, {.names = only(kDatabase), .from_seconds = -7200, .to_seconds = -5});
  EXPECT_EQ(verdict(TlsRole::kClient, &leaf), TlsFault::kExpired);
  EXPECT_EQ(verdict(TlsRole::kServer, &leaf), TlsFault::kExpired);
}

TEST_P(TlsTest, ACertificateOfTheFutureIsRefused) {
  const test::Leaf leaf = test::make_leaf(authority_, {.names = only(kDatabase), .from_seconds = 600});
  EXPECT_EQ(verdict(TlsRole::kClient, &leaf), TlsFault::kNotYetValid);
  EXPECT_EQ(verdict(TlsRole::kServer, &leaf), TlsFault::kNotYetValid);
}

TEST_P(TlsTest, AnotherWorkloadThanTheOneDialledIsRefused) {
  const test::Leaf leaf = test::make_leaf(authority_, {.names = only(kWeb)});
  EXPECT_EQ(verdict(TlsRole::kClient, &leaf), TlsFault::kWrongIdentity);
}

TEST_P(TlsTest, AnIdentityWithANulInItIsRefused) {
  const std::string name = std::string(kDatabase) + std::string("\0.evil", 6);
  const test::Leaf leaf = test::make_leaf(authority_, {.names = only(name)});
  EXPECT_EQ(verdict(TlsRole::kClient, &leaf), TlsFault::kBadName);
  EXPECT_EQ(verdict(TlsRole::kServer, &leaf), TlsFault::kBadName);
}

TEST_P(TlsTest, AnotherTrustDomainIsRefused) {
  const test::Leaf leaf = test::make_leaf(authority_, {.names = only(kForeign)});
  EXPECT_EQ(verdict(TlsRole::kClient, &leaf), TlsFault::kWrongTrustDomain);
  EXPECT_EQ(verdict(TlsRole::kServer, &leaf), TlsFault::kWrongTrustDomain);
}

TEST_P(TlsTest, ADnsNameIsNoIdentity) {
  const test::Leaf leaf =
      test::make_leaf(authority_, {.names = {{GEN_DNS, "database.shop.svc.cluster.local"}}});
  EXPECT_EQ(verdict(TlsRole::kClient, &leaf), TlsFault::kNoIdentity);
  EXPECT_EQ(verdict(TlsRole::kServer, &leaf), TlsFault::kNoIdentity);
}

TEST_P(TlsTest, ACallerWithoutACertificateIsRefused) {
  EXPECT_EQ(verdict(TlsRole::kServer, nullptr), TlsFault::kNoCertificate);
}

TEST_P(TlsTest, ACertificateForTheOtherSideOnlyIsRefused) {
  const test::Leaf client = test::make_leaf(authority_, {.names = only(kDatabase), .usage = "clientAuth"});
  const test::Leaf server = test::make_leaf(authority_, {.names = only(kDatabase), .usage = "serverAuth"});
  EXPECT_EQ(verdict(TlsRole::kClient, &client), TlsFault::kWrongUsage);
  EXPECT_EQ(verdict(TlsRole::kServer, &server), TlsFault::kWrongUsage);
}

TEST_P(TlsTest, ARevokedCertificateIsRefusedAndOthersAreNot) {
  const test::Leaf revoked = test::make_leaf(authority_, {.names = only(kDatabase)});
  const test::Leaf good = test::make_leaf(authority_, {.names = only(kDatabase)});
  const std::string lists = test::crl_pem(authority_, {revoked.certificate.get()});
  EXPECT_EQ(verdict(TlsRole::kClient, &revoked, lists), TlsFault::kRevoked);
  EXPECT_EQ(verdict(TlsRole::kServer, &revoked, lists), TlsFault::kRevoked);
  EXPECT_EQ(verdict(TlsRole::kClient, &good, lists), TlsFault::kNoFault);
  EXPECT_EQ(verdict(TlsRole::kServer, &good, lists), TlsFault::kNoFault);
}

TEST_P(TlsTest, AListOfAnotherAuthorityRefusesNobody) {
  const test::Leaf leaf = test::make_leaf(authority_, {.names = only(kDatabase)});
  const test::Authority other = test::make_authority("other");
  EXPECT_EQ(verdict(TlsRole::kClient, &leaf, test::crl_pem(other, {})), TlsFault::kNoFault);
}

TEST_P(TlsTest, APeerThatSpeaksNoTls13OrNoHttp2IsRefused) {
  const test::Leaf leaf = test::make_leaf(authority_, {.names = only(kDatabase)});
  for (const bool old : {true, false}) {
    Socket socket(*loop_);
    UniqueFd fd = pair(socket);
    TlsSocket* tls = start_tls(*loop_, socket, context(kWeb), TlsRole::kServer, {});
    OpensslPeer::Setup setup{.leaf = &leaf};
    if (old) setup.max_version = TLS1_2_VERSION;
    if (!old) setup.alpn = "";
    OpensslPeer peer(std::move(fd), setup);
    EXPECT_NE(handshake(*tls), 0);
    EXPECT_EQ(tls->fault(), old ? TlsFault::kProtocol : TlsFault::kNoProtocol);
    socket.close();
    // io_uring closes when it is turned; the peer waits for that.
    loop_->turn(0);
  }
}

TEST_P(TlsTest, WhatIsNoTlsIsRefused) {
  Socket socket(*loop_);
  const UniqueFd fd = pair(socket);
  TlsSocket* tls = start_tls(*loop_, socket, context(kWeb), TlsRole::kServer, {});
  ASSERT_GT(::write(fd.get(), "GET / HTTP/1.1\r\n\r\n", 18), 0);
  EXPECT_NE(handshake(*tls), 0);
  EXPECT_EQ(tls->fault(), TlsFault::kProtocol);
}

TEST_P(TlsTest, APeerThatDoesNotTrustUsIsHeardInItsAlert) {
  const test::Leaf leaf = test::make_leaf(authority_, {.names = only(kDatabase)});
  const test::Authority other = test::make_authority("other");
  Socket socket(*loop_);
  UniqueFd fd = pair(socket);
  OpensslPeer peer(std::move(fd), {.server = true, .leaf = &leaf, .trusts = {other.certificate.get()}});
  TlsSocket* tls = start_tls(*loop_, socket, context(kWeb), TlsRole::kClient, {});
  // Our half of the handshake is done before the peer looks at our certificate.
  ASSERT_EQ(handshake(*tls), 0);
  InputBuffer input(loop_->buffers());
  EXPECT_LT(receive(socket, input), 0);
  EXPECT_EQ(tls->fault(), TlsFault::kRefusedByPeer);
}

TEST_P(TlsTest, ALiveConnectionIsCutWhenItsPeerIsRevoked) {
  const test::Leaf leaf = test::make_leaf(authority_, {.names = only(kDatabase)});
  Socket socket(*loop_);
  UniqueFd fd = pair(socket);
  OpensslPeer peer(std::move(fd), {.server = true, .leaf = &leaf},
                   [](SSL* ssl) { OpensslPeer::read(ssl, 1); });
  const std::shared_ptr<TlsContext> ours = context(kWeb);
  TlsSocket* tls = start_tls(*loop_, socket, ours, TlsRole::kClient, {});
  ASSERT_EQ(handshake(*tls), 0);
  InputBuffer input(loop_->buffers());
  TestStep reading;
  reading.began(socket.recv(reading.operation, input));
  const auto nothing = with_crls(ours->credentials(), test::crl_pem(authority_, {}));
  EXPECT_EQ(ours->cut_revoked(**nothing), 0u);
  const auto revoking = with_crls(ours->credentials(), test::crl_pem(authority_, {leaf.certificate.get()}));
  EXPECT_EQ(ours->cut_revoked(**revoking), 1u);
  ASSERT_TRUE(turn_until([&] { return reading.done; }));
  EXPECT_LT(reading.result, 0);
  EXPECT_EQ(tls->fault(), TlsFault::kRevoked);
  socket.close();
  loop_->turn(0);
}

TEST_P(TlsTest, ALiveConnectionIsCutByRevocationAlsoWhenItsOwnIdentityIsNoMore) {
  const test::Leaf leaf = test::make_leaf(authority_, {.names = only(kDatabase)});
  const auto credentials_of = [this](const char* id) { return *with_crls(context(id)->credentials(), ""); };
  const auto only_of = [](const char* workload, const CredentialsPtr& credentials) {
    auto set = std::make_shared<CredentialSet>();
    set->by_id.emplace(credentials->id, credentials);
    set->by_workload.emplace(workload, credentials);
    return set;
  };
  TlsContexts contexts;
  contexts.replace(only_of("web", credentials_of(kWeb)));
  Socket socket(*loop_);
  UniqueFd fd = pair(socket);
  OpensslPeer peer(std::move(fd), {.server = true, .leaf = &leaf},
                   [](SSL* ssl) { OpensslPeer::read(ssl, 1); });
  TlsSocket* tls = start_tls(*loop_, socket, contexts.find("web"), TlsRole::kClient, {});
  ASSERT_EQ(handshake(*tls), 0);
  InputBuffer input(loop_->buffers());
  TestStep reading;
  reading.began(socket.recv(reading.operation, input));
  // The pod is gone; a tunnel of it is not.
  const CredentialsPtr other = credentials_of("spiffe://cluster.local/ns/shop/sa/cart");
  contexts.replace(only_of("cart", other));
  EXPECT_EQ(tls->fault(), TlsFault::kNoFault);
  contexts.replace(only_of("cart", *with_crls(*other, test::crl_pem(authority_, {leaf.certificate.get()}))));
  ASSERT_TRUE(turn_until([&] { return reading.done; }));
  EXPECT_EQ(tls->fault(), TlsFault::kRevoked);
  socket.close();
  loop_->turn(0);
}

TEST_P(TlsTest, ALiveConnectionIsCutWhenWhatVouchedForItsPeerIsRevoked) {
  const test::Authority middle = test::make_authority("middle", &authority_);
  const test::Leaf leaf = test::make_leaf(middle, {.names = only(kDatabase)});
  Socket socket(*loop_);
  UniqueFd fd = pair(socket);
  OpensslPeer peer(std::move(fd), {.server = true, .leaf = &leaf, .between = middle.certificate.get()},
                   [](SSL* ssl) { OpensslPeer::read(ssl, 1); });
  const std::shared_ptr<TlsContext> ours = context(kWeb);
  TlsSocket* tls = start_tls(*loop_, socket, ours, TlsRole::kClient, {});
  ASSERT_EQ(handshake(*tls), 0) << label(tls->fault());
  const auto other = with_crls(ours->credentials(), test::crl_pem(middle, {}));
  EXPECT_EQ(ours->cut_revoked(**other), 0u);
  const auto revoking = with_crls(ours->credentials(), test::crl_pem(authority_, {middle.certificate.get()}));
  EXPECT_EQ(ours->cut_revoked(**revoking), 1u);
  EXPECT_EQ(tls->fault(), TlsFault::kRevoked);
  socket.close();
  loop_->turn(0);
}

// Two of ours talk: so that sessions go the way they do between nodes.
class TlsResumptionTest : public TlsTest {
 protected:
  struct Ends {
    bool resumed = false;
    TlsFault client = TlsFault::kNoFault, server = TlsFault::kNoFault;
  };
  // Those of `server`, whose tickets they know, with other lists.
  static std::shared_ptr<Credentials> with_tickets(const std::shared_ptr<TlsContext>& server,
                                                   std::string_view crls) {
    auto out = std::make_shared<Credentials>();
    const auto with = with_crls(server->credentials(), crls);
    out->id = (*with)->id;
    out->key = share((*with)->key.get());
    for (const X509Ptr& each : (*with)->chain) out->chain.push_back(share(each.get()));
    for (const X509Ptr& each : (*with)->roots) out->roots.push_back(share(each.get()));
    for (const X509CrlPtr& each : (*with)->crls) {
      X509_CRL_up_ref(each.get());
      out->crls.emplace_back(each.get());
    }
    out->sessions = server->credentials().sessions;
    return out;
  }
  Ends talk(const std::shared_ptr<TlsContext>& client, const std::shared_ptr<TlsContext>& server,
            const std::string& name = "database") {
    Socket ours(*loop_), theirs(*loop_);
    UniqueFd fd = pair(ours);
    EXPECT_EQ(::fcntl(fd.get(), F_SETFL, O_NONBLOCK), 0);
    EXPECT_TRUE(theirs.open(std::move(fd), true));
    TlsSocket* a =
        start_tls(*loop_, ours, client, TlsRole::kClient, TlsPeer{.expected = {}, .session_name = name});
    TlsSocket* b = start_tls(*loop_, theirs, server, TlsRole::kServer, {});
    TestStep first, second;
    first.began(a->handshake(first.operation));
    second.began(b->handshake(second.operation));
    EXPECT_TRUE(turn_until([&] { return first.done && second.done; }));
    if (first.result == 0 && second.result == 0) {
      EXPECT_EQ(send(theirs, "x"), 0);
      InputBuffer input(loop_->buffers());
      EXPECT_EQ(receive(ours, input), 1);
    }
    Ends out{a->resumed() && b->resumed(), a->fault(), b->fault()};
    ours.close();
    theirs.close();
    loop_->turn(0);
    return out;
  }
};

TEST_P(TlsResumptionTest, WhatVouchedForAPeerIsLookedAtAlsoWhenItResumes) {
  const test::Authority middle = test::make_authority("middle", &authority_);
  const auto server = context(kDatabase);
  const auto client = context(kWeb, {}, &middle);
  EXPECT_FALSE(talk(client, server).resumed);
  EXPECT_TRUE(talk(client, server).resumed);
  const auto revoking = with_tickets(server, test::crl_pem(authority_, {middle.certificate.get()}));
  EXPECT_EQ(talk(client, *TlsContext::make(revoking)).server, TlsFault::kRevoked);
  // And the other way round: a client keeps what vouched for the server.
  const auto again = context(kWeb);
  const auto between = context(kDatabase, {}, &middle);
  EXPECT_FALSE(talk(again, between).resumed);
  EXPECT_TRUE(talk(again, between).resumed);
}

TEST_P(TlsResumptionTest, ASecondConnectionResumesAndStillKnowsItsPeers) {
  const auto client = context(kWeb);
  const auto server = context(kDatabase);
  EXPECT_FALSE(talk(client, server).resumed);
  EXPECT_EQ(client->sessions(), 1u);
  for (int i = 0; i < 3; ++i) {
    const Ends ends = talk(client, server);
    EXPECT_TRUE(ends.resumed);
    EXPECT_EQ(ends.client, TlsFault::kNoFault);
    EXPECT_EQ(ends.server, TlsFault::kNoFault);
  }
}

// Workers have contexts of their own, of the same credentials.
TEST_P(TlsResumptionTest, AnotherWorkerResumesWhatOneBegan) {
  const auto client = context(kWeb);
  const auto server = context(kDatabase);
  CredentialsPtr shared(server, &server->credentials());
  const auto one = *TlsContext::make(shared), other = *TlsContext::make(shared);
  EXPECT_FALSE(talk(client, one).resumed);
  for (const auto& next : {other, one, other}) {
    const Ends ends = talk(client, next);
    EXPECT_TRUE(ends.resumed);
    EXPECT_EQ(ends.server, TlsFault::kNoFault);
  }
  EXPECT_EQ(shared->sessions->size(), 1u) << "each was used once, the last is still to be";
}

TEST_P(TlsResumptionTest, NoTicketServesAnotherIdentity) {
  const auto client = context(kWeb);
  const auto other_client = context(kDatabase);
  const auto server = context(kDatabase);
  const auto other_server = context(kWeb);
  EXPECT_FALSE(talk(client, server).resumed);
  EXPECT_FALSE(talk(other_client, server).resumed) << "sessions belong to the identity that made them";
  EXPECT_FALSE(talk(client, server, "another endpoint").resumed);
  const Ends stolen = talk(client, other_server);
  EXPECT_FALSE(stolen.resumed) << "a ticket of one server identity means nothing to another";
  EXPECT_EQ(stolen.server, TlsFault::kNoFault) << "a full handshake takes its place";
  EXPECT_FALSE(talk(context(kWeb), server).resumed) << "renewed credentials begin anew";
}

TEST_P(TlsResumptionTest, ARevokedPeerDoesNotComeBackByItsTicket) {
  const auto server = context(kDatabase);
  const auto client = context(kWeb);
  EXPECT_FALSE(talk(client, server).resumed);
  // The same tickets, but the caller is on the list now.
  const auto revoking =
      with_tickets(server, test::crl_pem(authority_, {client->credentials().chain[0].get()}));
  const Ends ends = talk(client, *TlsContext::make(revoking));
  EXPECT_EQ(ends.server, TlsFault::kRevoked);
}

INSTANTIATE_TEST_SUITE_P(, TlsTest, testing::Values(IoKind::kEpoll, IoKind::kUring),
                         [](const auto& kind) { return kind.param == IoKind::kEpoll ? "Epoll" : "Uring"; });
INSTANTIATE_TEST_SUITE_P(, TlsResumptionTest, testing::Values(IoKind::kEpoll, IoKind::kUring),
                         [](const auto& kind) { return kind.param == IoKind::kEpoll ? "Epoll" : "Uring"; });

}  // namespace
}  // namespace weft::proxy
