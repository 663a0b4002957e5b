// Sessions that a server keeps for its clients: each is given out once, there are only so many, and a ticket
// that was used is good for nothing.
#include "userspace-proxy/tls/session_store.h"

#include <gtest/gtest.h>
#include <openssl/err.h>

#include <array>
#include <ctime>
#include <memory>

#include "base/strings.h"
#include "tests/unit/identity/pki.h"
#include "tests/unit/identity/shake_hands.h"
#include "userspace-proxy/tls/tls_context.h"

namespace weft::proxy {
namespace {

constexpr char kWeb[] = "spiffe://cluster.local/ns/shop/sa/web";
constexpr char kDatabase[] = "spiffe://cluster.local/ns/shop/sa/database";

SslSessionPtr session(const std::string& name, long begun = 0) {
  SslSessionPtr out(SSL_SESSION_new());
  SSL_SESSION_set1_id(out.get(), reinterpret_cast<const unsigned char*>(name.data()),
                      static_cast<unsigned>(name.size()));
  SSL_SESSION_set_time(out.get(), static_cast<long>(::time(nullptr)) + begun);
  SSL_SESSION_set_timeout(out.get(), 3600);
  return out;
}

TEST(SessionStoreTest, ASessionIsGivenOutOnce) {
  SessionStore store;
  store.keep(session("a"), {});
  store.keep(session("b"), {});
  EXPECT_EQ(store.size(), 2u);
  EXPECT_EQ(store.take("c").session, nullptr);
  EXPECT_NE(store.take("a").session, nullptr);
  EXPECT_EQ(store.take("a").session, nullptr);
  EXPECT_NE(store.take("b").session, nullptr);
  EXPECT_EQ(store.size(), 0u);
}

TEST(SessionStoreTest, WhatHasNoNameCannotBeAskedFor) {
  SessionStore store;
  store.keep(session(""), {});
  EXPECT_EQ(store.size(), 0u);
}

TEST(SessionStoreTest, TheOldestMakeRoomAndWhatIsOverGoes) {
  SessionStore store;
  for (size_t i = 0; i < SessionStore::kMax + 2; ++i) store.keep(session(str_cat("n", i)), {});
  EXPECT_EQ(store.size(), SessionStore::kMax);
  EXPECT_EQ(store.take("n1").session, nullptr);
  EXPECT_NE(store.take("n2").session, nullptr);
  SessionStore other;
  other.keep(session("old", -3601), {});
  other.keep(session("new"), {});
  EXPECT_EQ(other.size(), 1u);
  EXPECT_EQ(other.take("old").session, nullptr);
}

TEST(SessionStoreTest, AFullProcessKeepsNoMore) {
  constexpr size_t kStores = SessionStore::kMaxInAll / SessionStore::kMax;
  std::array<std::unique_ptr<SessionStore>, kStores> stores;
  for (auto& store : stores) {
    store = std::make_unique<SessionStore>();
    for (size_t i = 0; i < SessionStore::kMax; ++i) store->keep(session(str_cat("n", i)), {});
  }
  SessionStore late;
  late.keep(session("a"), {});
  EXPECT_EQ(late.size(), 0u);
  stores[0]->keep(session("a"), {});
  EXPECT_NE(stores[0]->take("a").session, nullptr) << "its own oldest made room";
  late.keep(session("a"), {});
  EXPECT_EQ(late.size(), 1u);
  stores[1].reset();
  late.keep(session("b"), {});
  EXPECT_EQ(late.size(), 2u);
  stores[2]->clear();
  EXPECT_EQ(stores[2]->size(), 0u);
  EXPECT_EQ(stores[2]->take("n5").session, nullptr);
  for (size_t i = 0; i < SessionStore::kMax; ++i) stores[3]->keep(session(str_cat("m", i)), {});
  EXPECT_EQ(stores[3]->size(), SessionStore::kMax);
}

class TicketTest : public testing::Test {
 protected:
  std::shared_ptr<TlsContext> context(const char* id) const {
    const test::Leaf leaf = test::make_leaf(authority_, {.names = {{GEN_URI, id}}});
    auto out = std::make_shared<Credentials>();
    out->id = *SpiffeId::parse(id);
    out->key = share(leaf.key.get());
    out->chain.push_back(share(leaf.certificate.get()));
    out->roots.push_back(share(authority_.certificate.get()));
    return *TlsContext::make(out);
  }
  // Whether it was resumed. `shown`: what the client shows; what it gets takes its place where `keeps`.
  bool shake(SslSessionPtr& shown, bool keeps) {
    TlsPeer of_client, of_server;
    const SslPtr a = client_->new_connection(TlsRole::kClient, of_client);
    const SslPtr b = server_->new_connection(TlsRole::kServer, of_server);
    if (shown != nullptr) EXPECT_EQ(SSL_set_session(a.get(), shown.get()), 1);
    EXPECT_TRUE(test::shake_hands(a.get(), b.get()));
    // The ticket comes behind the handshake.
    char nothing = 0;
    SSL_read(a.get(), &nothing, 1);
    ERR_clear_error();
    const bool resumed = SSL_session_reused(b.get()) == 1;
    EXPECT_EQ(SSL_session_reused(a.get()) == 1, resumed);
    EXPECT_EQ(of_server.chain.size(), 2u) << "who calls is known, resumed or not";
    EXPECT_EQ(server_->check(b.get(), of_server), TlsFault::kNoFault);
    EXPECT_EQ(of_server.id.to_string(), kWeb);
    if (keeps) shown.reset(SSL_get1_session(a.get()));
    SSL_shutdown(a.get());
    SSL_shutdown(b.get());
    return resumed;
  }

  const test::Authority authority_ = test::make_authority("mesh");
  const std::shared_ptr<TlsContext> client_ = context(kWeb), server_ = context(kDatabase);
};

// Also for somebody who has all that its first owner had.
TEST_F(TicketTest, IsGoodOnce) {
  SslSessionPtr ticket;
  EXPECT_FALSE(shake(ticket, true));
  ASSERT_EQ(SSL_SESSION_is_resumable(ticket.get()), 1);
  EXPECT_TRUE(shake(ticket, false));
  EXPECT_FALSE(shake(ticket, false)) << "a full handshake takes its place";
}

TEST_F(TicketTest, EachResumedConnectionBringsTheNext) {
  SslSessionPtr ticket;
  EXPECT_FALSE(shake(ticket, true));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(shake(ticket, true));
  EXPECT_EQ(server_->credentials().sessions->size(), 1u);
}

TEST_F(TicketTest, ThatIsTooOldIsNotResumed) {
  SslSessionPtr ticket;
  EXPECT_FALSE(shake(ticket, true));
  SessionStore& store = *server_->credentials().sessions;
  // What the server knows it by is what the client was told.
  size_t length = 0;
  const unsigned char* bytes = nullptr;
  SSL_SESSION_get0_ticket(ticket.get(), &bytes, &length);
  SessionStore::Kept kept = store.take({reinterpret_cast<const char*>(bytes), length});
  ASSERT_NE(kept.session, nullptr);
  SSL_SESSION_set_time(kept.session.get(), static_cast<long>(::time(nullptr)) - 24 * 3600);
  store.keep(std::move(kept.session), std::move(kept.chain));
  EXPECT_FALSE(shake(ticket, false));
}

}  // namespace
}  // namespace weft::proxy
