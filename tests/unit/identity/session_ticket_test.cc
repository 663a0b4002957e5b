// Tickets of listeners that end TLS: resumed for a while, by whatever worker, and not for ever.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "tests/unit/identity/openssl_peer.h"
#include "tests/unit/proxy-engine/loop_world.h"
#include "userspace-proxy/tls/server_tls.h"
#include "userspace-proxy/tls/ticket_secret.h"
#include "userspace-proxy/tls/tls_socket.h"

namespace weft::proxy {
namespace {

using test::OpensslPeer;

using SessionPtr = std::unique_ptr<SSL_SESSION, FreeWith<SSL_SESSION_free>>;

// A period after all that were asked for before: of those the process has nothing left.
uint64_t later() {
  static uint64_t period = ticket_period();
  return period += 10'000;
}

class SessionTicketTest : public LoopTest {
 protected:
  std::shared_ptr<ServerTls> server() {
    auto terms = std::make_shared<ServerTerms>();
    terms->name = "edge";
    terms->certificates = {{to_pem(leaf_.certificate.get()), test::key_pem(leaf_.key.get())}};
    auto made = ServerTls::make(std::move(terms));
    EXPECT_TRUE(made.ok()) << made.status();
    return *std::move(made);
  }
  // Whether a client with that session (null: none) resumes it; *next is what it may resume later.
  bool resumes(const std::shared_ptr<ServerTls>& server, int version, SSL_SESSION* session,
               SessionPtr* next = nullptr) {
    Socket socket(*loop_);
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    EXPECT_EQ(::fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    EXPECT_TRUE(socket.open(UniqueFd(ends[0]), true));
    TlsSocket* tls = start_tls(*loop_, socket, server, TlsRole::kServer, {});
    OpensslPeer::Setup setup;
    setup.max_version = version;
    setup.session = session;
    OpensslPeer client(UniqueFd(ends[1]), setup, [&](SSL* ssl) {
      EXPECT_EQ(OpensslPeer::read(ssl, 1), "x");
      if (next != nullptr) next->reset(SSL_get1_session(ssl));
      // The library resumes nothing that did not end well.
      SSL_shutdown(ssl);
    });
    TestStep step;
    step.began(tls->handshake(step.operation));
    EXPECT_TRUE(turn_until([&] { return step.done; }));
    EXPECT_EQ(step.result, 0) << label(tls->fault());
    EXPECT_EQ(send(socket, "x"), 0);
    InputBuffer input(loop_->buffers());
    receive(socket, input);
    socket.close();
    loop_->turn(0);
    client.join();
    return client.resumed();
  }

  const test::Authority authority_ = test::make_authority("public");
  const test::Leaf leaf_ = test::make_leaf(authority_, {.names = {{GEN_DNS, "a.example"}}});
};

TEST_P(SessionTicketTest, ATicketIsGoodAtEachWorkerUntilItsPeriodIsOver) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const auto one = server(), other = server();
    SessionPtr session;
    EXPECT_FALSE(resumes(one, version, nullptr, &session));
    ASSERT_NE(session, nullptr);
    EXPECT_TRUE(resumes(other, version, session.get()));
    other->renew_tickets(later());
    EXPECT_FALSE(resumes(other, version, session.get())) << "the keys of before are gone";
  }
}

TEST(TicketSecretTest, NothingOfAnEarlierPeriodIsLeft) {
  const uint64_t now = later();
  const TicketSecret first = *ticket_secret(now), second = *ticket_secret(now + 1);
  EXPECT_NE(first, second);
  EXPECT_EQ(*ticket_secret(now + 1), second);
  EXPECT_EQ(*ticket_secret(now), second) << "there is no way back";
  EXPECT_NE(*ticket_secret(later()), second);
}

INSTANTIATE_TEST_SUITE_P(, SessionTicketTest, testing::Values(IoKind::kEpoll, IoKind::kUring),
                         [](const auto& kind) { return kind.param == IoKind::kEpoll ? "Epoll" : "Uring"; });

}  // namespace
}  // namespace weft::proxy
