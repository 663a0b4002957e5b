// What a context remembers of peers that it has verified, and what it never takes from memory. Both ends of
// each handshake are in this thread, with nothing but memory between them.
#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#include "base/strings.h"
#include "tests/unit/identity/pki.h"
#include "tests/unit/identity/shake_hands.h"
#include "userspace-proxy/tls/tls_algorithms.h"
#include "userspace-proxy/tls/tls_contexts.h"

namespace weft::proxy {
namespace {

constexpr char kWeb[] = "spiffe://cluster.local/ns/shop/sa/web";
constexpr char kDatabase[] = "spiffe://cluster.local/ns/shop/sa/database";

test::Names only(const std::string& uri) { return {{GEN_URI, uri}}; }

struct Verdict {
  TlsFault client = TlsFault::kNoFault, server = TlsFault::kNoFault;
  // Whether the library itself went through the peer's chain.
  bool client_verified = false, server_verified = false;
  bool done = false;  // both ends
};

class VerifiedPeerTest : public testing::Test {
 protected:
  std::shared_ptr<Credentials> credentials(const char* id, const test::Leaf& leaf) const {
    auto out = std::make_shared<Credentials>();
    out->id = *SpiffeId::parse(id);
    out->key = share(leaf.key.get());
    out->chain.push_back(share(leaf.certificate.get()));
    out->roots.push_back(share(authority_.certificate.get()));
    return out;
  }
  std::shared_ptr<TlsContext> context(const char* id, const test::LeafShape& shape) const {
    return *TlsContext::make(credentials(id, test::make_leaf(authority_, shape)));
  }
  std::shared_ptr<TlsContext> context(const char* id) const { return context(id, {.names = only(id)}); }

  static Verdict shake(TlsContext& client, TlsContext& server, const char* expected = kDatabase) {
    TlsPeer of_client, of_server;
    of_client.expected = {*SpiffeId::parse(expected)};
    const SslPtr a = client.new_connection(TlsRole::kClient, of_client);
    const SslPtr b = server.new_connection(TlsRole::kServer, of_server);
    BIO *left = nullptr, *right = nullptr;
    EXPECT_EQ(BIO_new_bio_pair(&left, 64 * 1024, &right, 64 * 1024), 1);
    SSL_set_bio(a.get(), left, left);
    SSL_set_bio(b.get(), right, right);
    Verdict out;
    for (int turn = 0; turn < 4 && !out.done; ++turn) {
      ERR_clear_error();
      const bool ours = SSL_do_handshake(a.get()) == 1;
      const bool theirs = SSL_do_handshake(b.get()) == 1;
      out.done = ours && theirs;
    }
    ERR_clear_error();
    out.client = of_client.fault;
    out.server = of_server.fault;
    if (out.done) {
      EXPECT_EQ(client.check(a.get(), of_client), TlsFault::kNoFault);
      EXPECT_EQ(server.check(b.get(), of_server), TlsFault::kNoFault);
      EXPECT_EQ(of_client.chain.size(), 2u);
      EXPECT_EQ(of_server.chain.size(), 2u);
      EXPECT_EQ(of_server.id.to_string(), client.credentials().id.to_string());
    }
    out.client_verified = SSL_get0_verified_chain(a.get()) != nullptr;
    out.server_verified = SSL_get0_verified_chain(b.get()) != nullptr;
    return out;
  }

  static CredentialSetPtr only_of(const CredentialsPtr& credentials) {
    auto set = std::make_shared<CredentialSet>();
    set->by_id.emplace(credentials->id, credentials);
    set->by_workload.emplace("workload", credentials);
    return set;
  }

  const test::Authority authority_ = test::make_authority("mesh");
};

TEST_F(VerifiedPeerTest, APeerThatComesAgainIsVerifiedOnce) {
  const auto client = context(kWeb), server = context(kDatabase);
  const Verdict first = shake(*client, *server);
  EXPECT_TRUE(first.done && first.client_verified && first.server_verified);
  const Verdict again = shake(*client, *server);
  EXPECT_TRUE(again.done);
  EXPECT_FALSE(again.client_verified || again.server_verified);
  const Verdict other = shake(*context(kWeb), *server);
  EXPECT_TRUE(other.done && other.server_verified) << "another certificate of the same identity is another";
}

TEST_F(VerifiedPeerTest, AKnownPeerIsNobodyElse) {
  const auto client = context(kWeb), server = context(kDatabase);
  EXPECT_TRUE(shake(*client, *server).done);
  EXPECT_EQ(shake(*client, *server, "spiffe://cluster.local/ns/shop/sa/cart").client,
            TlsFault::kWrongIdentity);
  EXPECT_EQ(shake(*client, *server, "spiffe://elsewhere/ns/shop/sa/database").client,
            TlsFault::kWrongTrustDomain);
}

TEST_F(VerifiedPeerTest, AKnownPeerIsRefusedOnceItIsRevoked) {
  const auto client = credentials(kWeb, test::make_leaf(authority_, {.names = only(kWeb)}));
  const auto server = context(kDatabase);
  TlsContexts contexts;
  contexts.replace(only_of(client));
  EXPECT_TRUE(shake(*contexts.find("workload"), *server).done);
  EXPECT_FALSE(shake(*contexts.find("workload"), *server).client_verified);
  X509* const theirs = server->credentials().chain.front().get();
  contexts.replace(only_of(*with_crls(*client, test::crl_pem(authority_, {theirs}))));
  EXPECT_EQ(shake(*contexts.find("workload"), *server).client, TlsFault::kRevoked);
}

TEST_F(VerifiedPeerTest, AKnownPeerIsRefusedOnceItsRootIsGone) {
  const auto client = credentials(kWeb, test::make_leaf(authority_, {.names = only(kWeb)}));
  const auto server = context(kDatabase);
  TlsContexts contexts;
  contexts.replace(only_of(client));
  EXPECT_TRUE(shake(*contexts.find("workload"), *server).done);
  const auto next =
      credentials(kWeb, {.certificate = share(client->chain.front().get()), .key = share(client->key.get())});
  next->roots.clear();
  next->roots.push_back(test::make_authority("next").certificate);
  contexts.replace(only_of(next));
  EXPECT_EQ(shake(*contexts.find("workload"), *server).client, TlsFault::kUntrusted);
}

// Of credentials that are replaced, or gone, no new connection resumes: they take no room of others'.
TEST_F(VerifiedPeerTest, SessionsGoWithTheirCredentialsAndOthersStay) {
  const auto client = context(kDatabase);
  const auto first = credentials(kWeb, test::make_leaf(authority_, {.names = only(kWeb)}));
  const auto second = credentials(kWeb, test::make_leaf(authority_, {.names = only(kWeb)}));
  TlsContexts contexts;
  contexts.replace(only_of(first));
  EXPECT_TRUE(shake(*client, *contexts.find("workload"), kWeb).done);
  EXPECT_EQ(first->sessions->size(), 1u);
  contexts.replace(only_of(first));
  EXPECT_EQ(first->sessions->size(), 1u);
  contexts.replace(only_of(second));
  EXPECT_EQ(first->sessions->size(), 0u);
  EXPECT_TRUE(shake(*client, *contexts.find("workload"), kWeb).done);
  EXPECT_EQ(second->sessions->size(), 1u);
  contexts.replace(std::make_shared<CredentialSet>());
  EXPECT_EQ(second->sessions->size(), 0u);
}

TEST_F(VerifiedPeerTest, AChainIsTakenUpToItsBytes) {
  const auto server = context(kDatabase);
  const auto with_names = [this](int count) {
    test::LeafShape shape{.names = only(kWeb)};
    for (int i = 0; i < count; ++i) shape.names.emplace_back(GEN_DNS, str_cat(i, std::string(200, 'x')));
    return context(kWeb, shape);
  };
  EXPECT_TRUE(shake(*with_names(60), *server).done) << "12 KB";
  EXPECT_FALSE(shake(*with_names(90), *server).done) << "18 KB";
}

TEST_F(VerifiedPeerTest, WhoWasAdmittedAsACallerIsNoServerByThat) {
  const auto both = context(kWeb);
  const auto caller = context(kDatabase, {.names = only(kDatabase), .usage = "clientAuth"});
  EXPECT_TRUE(shake(*caller, *both, kWeb).done);
  EXPECT_EQ(shake(*both, *caller).client, TlsFault::kWrongUsage);
}

// The same certificate but for a bit of what the authority signed it with.
TEST_F(VerifiedPeerTest, ACertificateWithAnotherSignatureIsNotTheKnownOne) {
  const auto client = context(kWeb), server = context(kDatabase);
  EXPECT_TRUE(shake(*client, *server).done);
  X509* const good = server->credentials().chain.front().get();
  std::vector<unsigned char> bytes(static_cast<size_t>(i2d_X509(good, nullptr)));
  unsigned char* to = bytes.data();
  i2d_X509(good, &to);
  bytes.back() ^= 1;
  const unsigned char* from = bytes.data();
  X509Ptr forged(d2i_X509(nullptr, &from, static_cast<long>(bytes.size())));
  ASSERT_NE(forged, nullptr);
  const test::Leaf leaf{std::move(forged), share(server->credentials().key.get())};
  EXPECT_EQ(shake(*client, **TlsContext::make(credentials(kDatabase, leaf))).client, TlsFault::kUntrusted);
}

// A key that says of itself that its public half is that of the certificate.
KeyPtr pretend(EVP_PKEY* victim) {
  unsigned char point[65];
  size_t length = 0;
  EXPECT_EQ(EVP_PKEY_get_octet_string_param(victim, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point), &length),
            1);
  BIGNUM* number = BN_new();
  BN_set_word(number, 4711);
  OSSL_PARAM_BLD* builder = OSSL_PARAM_BLD_new();
  OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0);
  OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, length);
  OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, number);
  OSSL_PARAM* params = OSSL_PARAM_BLD_to_param(builder);
  EVP_PKEY_CTX* made = EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr);
  EVP_PKEY* out = nullptr;
  EVP_PKEY_fromdata_init(made);
  EVP_PKEY_fromdata(made, &out, EVP_PKEY_KEYPAIR, params);
  EVP_PKEY_CTX_free(made);
  OSSL_PARAM_free(params);
  OSSL_PARAM_BLD_free(builder);
  BN_free(number);
  ERR_clear_error();
  return KeyPtr(out);
}

TEST_F(VerifiedPeerTest, ACopiedCertificateWithoutItsKeyIsOfNoUse) {
  const auto client = context(kWeb), server = context(kDatabase);
  EXPECT_TRUE(shake(*client, *server).done);
  KeyPtr key = pretend(server->credentials().key.get());
  ASSERT_NE(key, nullptr);
  const test::Leaf copied{share(server->credentials().chain.front().get()), std::move(key)};
  const auto thief = TlsContext::make(credentials(kDatabase, copied));
  ASSERT_TRUE(thief.ok()) << thief.status();
  const Verdict verdict = shake(*client, **thief);
  EXPECT_EQ(verdict.client, TlsFault::kNoFault) << "the certificate itself is a good one";
  EXPECT_FALSE(verdict.done);
}

// Anybody sees a server's certificate, and could drive out all who are known by showing it with others.
TEST_F(VerifiedPeerTest, WhoHasNotProvedTheKeyIsNotKept) {
  const auto client = context(kWeb), server = context(kDatabase);
  const test::Leaf copied{share(server->credentials().chain.front().get()),
                          pretend(server->credentials().key.get())};
  const auto thief = *TlsContext::make(credentials(kDatabase, copied));
  EXPECT_FALSE(shake(*client, *thief).done);
  EXPECT_FALSE(shake(*thief, *server).done);
  EXPECT_EQ(client->verified_peers() + server->verified_peers(), 0u);
  EXPECT_TRUE(shake(*client, *server).done);
  EXPECT_EQ(client->verified_peers(), 1u);
  EXPECT_EQ(server->verified_peers(), 1u);
}

TEST_F(VerifiedPeerTest, WhatIsKeptIsLookedAtEachTime) {
  const test::Leaf good = test::make_leaf(authority_, {.names = only(kWeb)});
  const test::Leaf expired =
      test::make_leaf(authority_, {.names = only(kWeb), .from_seconds = -100, .to_seconds = -10});
  const test::Leaf early = test::make_leaf(authority_, {.names = only(kWeb), .from_seconds = 100});
  const SpiffeId id = *SpiffeId::parse(kWeb);
  VerifiedPeers peers;
  for (const auto& [name, leaf] :
       {std::pair("good", &good), std::pair("expired", &expired), std::pair("early", &early)}) {
    std::vector<X509Ptr> chain;
    chain.push_back(share(leaf->certificate.get()));
    peers.keep(name, id, chain);
  }
  const auto trust = credentials(kWeb, good);
  EXPECT_NE(peers.find("good", *trust), nullptr);
  EXPECT_EQ(peers.find("expired", *trust), nullptr);
  EXPECT_EQ(peers.find("early", *trust), nullptr);
  EXPECT_EQ(peers.size(), 1u) << "what is no longer good is forgotten";
  EXPECT_EQ(peers.find("good", **with_crls(*trust, test::crl_pem(authority_, {good.certificate.get()}))),
            nullptr);
  EXPECT_EQ(peers.size(), 0u);
}

// Not only its leaf.
TEST_F(VerifiedPeerTest, AKnownPeerIsForgottenWithTheAuthorityThatVouchesForIt) {
  const test::Authority middle = test::make_authority("middle", &authority_);
  const test::Leaf leaf = test::make_leaf(middle, {.names = only(kWeb)});
  std::vector<X509Ptr> chain;
  chain.push_back(share(leaf.certificate.get()));
  chain.push_back(share(middle.certificate.get()));
  VerifiedPeers peers;
  peers.keep("peer", *SpiffeId::parse(kWeb), chain);
  const auto trust = credentials(kWeb, leaf);
  EXPECT_NE(peers.find("peer", *trust), nullptr);
  const std::string revoked = test::crl_pem(authority_, {middle.certificate.get()});
  EXPECT_EQ(peers.find("peer", **with_crls(*trust, revoked)), nullptr);
}

TEST_F(VerifiedPeerTest, TheOldestMakesRoomForTheNewest) {
  const test::Leaf leaf = test::make_leaf(authority_, {.names = only(kWeb)});
  std::vector<X509Ptr> chain;
  chain.push_back(share(leaf.certificate.get()));
  VerifiedPeers peers;
  for (size_t i = 0; i <= VerifiedPeers::kMax; ++i)
    peers.keep(std::to_string(i), *SpiffeId::parse(kWeb), chain);
  const auto trust = credentials(kWeb, leaf);
  EXPECT_EQ(peers.size(), VerifiedPeers::kMax);
  EXPECT_EQ(peers.find("0", *trust), nullptr);
  EXPECT_NE(peers.find("1", *trust), nullptr);
  EXPECT_NE(peers.find(std::to_string(VerifiedPeers::kMax), *trust), nullptr);
}

// Whether two workloads whose leaves `issuer` signed shake hands; `keys`: of both, null: of P-256.
bool shake_hands(const test::Authority& issuer, const std::vector<X509*>& above, EVP_PKEY* keys,
                 TlsPeer& of_client) {
  std::vector<std::shared_ptr<TlsContext>> ends;
  for (const char* id : {kWeb, kDatabase}) {
    const test::Leaf leaf = test::make_leaf(issuer, {.names = only(id), .key = keys});
    std::vector<std::string> chain{to_pem(leaf.certificate.get())};
    for (X509* each : above) chain.push_back(to_pem(each));
    auto made = make_credentials(*SpiffeId::parse(id), share(leaf.key.get()), chain, "");
    EXPECT_TRUE(made.ok()) << made.status();
    if (!made.ok()) return false;
    auto context = TlsContext::make(*made);
    if (!context.ok()) return false;
    ends.push_back(*std::move(context));
  }
  TlsPeer of_server;
  const SslPtr a = ends[0]->new_connection(TlsRole::kClient, of_client);
  const SslPtr b = ends[1]->new_connection(TlsRole::kServer, of_server);
  return test::shake_hands(a.get(), b.get());
}

absl::Status algorithms_of(const std::vector<X509*>& chain) {
  STACK_OF(X509)* stack = sk_X509_new_null();
  for (X509* each : chain) sk_X509_push(stack, each);
  absl::Status out = check_algorithms(stack);
  sk_X509_free(stack);
  return out;
}

// Kinds of keys that certificates of a mesh have; its authority may be another one's.
TEST(TlsAlgorithmsTest, CertificatesOfEachKindOfKeyAreTaken) {
  ASSERT_NE(tls_algorithms(), nullptr);
  const test::Authority root = test::make_authority("root", nullptr, test::rsa_key());
  const test::Authority middle = test::make_authority("middle", &root, test::p384_key());
  for (const KeyPtr& key : {test::p256_key(), test::p384_key(), test::rsa_key(), test::key_of("ED25519")}) {
    TlsPeer of_client;
    EXPECT_TRUE(shake_hands(middle, {middle.certificate.get(), root.certificate.get()}, key.get(), of_client))
        << EVP_PKEY_get0_type_name(key.get());
    EXPECT_EQ(of_client.chain.size(), 3u) << "with the one between";
  }
}

// Who gives certificates out asks check_algorithms(), the proxy has tls_algorithms(): they agree.
TEST(TlsAlgorithmsTest, WhatIsRefusedUpFrontIsWhatNoHandshakeTakes) {
  struct Case {
    const char* what;
    KeyPtr key;
    const EVP_MD* digest;
    bool taken;
  };
  Case cases[] = {{"P-256", test::p256_key(), EVP_sha256(), true},
                  {"P-384", test::p384_key(), EVP_sha384(), true},
                  {"RSA", test::rsa_key(), EVP_sha512(), true},
                  {"ED25519", test::key_of("ED25519"), nullptr, true},
                  {"ED448", test::key_of("ED448"), nullptr, false},
                  {"1024 bits", KeyPtr(EVP_RSA_gen(1024)), EVP_sha256(), false},
                  {"ecdsa_with_SHA3-256", test::p256_key(), EVP_sha3_256(), false},
                  {"ecdsa-with-SHA1", test::p256_key(), EVP_sha1(), false}};
  const test::Authority root = test::make_authority("root");
  for (Case& each : cases) {
    test::Authority middle = test::make_authority("middle", &root, std::move(each.key));
    middle.digest = each.digest;
    const test::Leaf leaf = test::make_leaf(middle, {.names = only(kWeb)});
    const absl::Status status =
        algorithms_of({leaf.certificate.get(), middle.certificate.get(), root.certificate.get()});
    EXPECT_EQ(status.ok(), each.taken) << each.what << status;
    if (!each.taken) EXPECT_NE(status.message().find(each.what), std::string::npos) << status;
    TlsPeer of_client;
    EXPECT_EQ(shake_hands(middle, {middle.certificate.get(), root.certificate.get()}, nullptr, of_client),
              each.taken)
        << each.what;
  }
}

}  // namespace
}  // namespace weft::proxy
