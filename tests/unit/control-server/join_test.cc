// Join tokens: their text, their folder, and what the desk says to whom. The clock is the test's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/strings.h"
#include "control-plane/identity/node_name.h"
#include "control-plane/join/guess_limit.h"
#include "control-plane/join/join_desk.h"
#include "tests/unit/base/scratch_folder.h"
#include "tests/unit/identity/pki.h"

namespace weft::control_plane {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;
namespace fs = std::filesystem;

constexpr char kPeer[] = "ipv4:10.0.0.1:4711";

TEST(JoinToken, IsReadAsItWasWrittenAndNotOtherwise) {
  const auto token = make_join_token();
  ASSERT_TRUE(token.ok()) << token.status();
  const std::string text = to_string(*token);
  EXPECT_EQ(text.size(), 91u);
  for (const std::string& written : {text, text + "\n", " " + text + "\r\n"}) {
    const auto read = parse_join_token(written);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->id, token->id);
    EXPECT_EQ(read->secret, token->secret);
  }
  std::string upper = text;
  upper.back() = 'F';
  std::string cut = text;
  cut[26] = '-';
  for (const std::string& wrong :
       {std::string(), text.substr(1), text + "0", text.substr(0, 90), upper, cut, std::string(91, '.'),
        std::string(91, '\0'), text.substr(0, 40) + std::string(1, '\0') + text.substr(41)}) {
    const auto read = parse_join_token(wrong);
    ASSERT_FALSE(read.ok()) << wrong;
    EXPECT_THAT(std::string(read.status().message()), Not(HasSubstr(token->secret.substr(0, 16))));
  }
}

TEST(JoinToken, TwoAreNeverTheSame) {
  const auto one = make_join_token(), other = make_join_token();
  EXPECT_NE(one->id, other->id);
  EXPECT_NE(one->secret, other->secret);
  EXPECT_TRUE(has_digest(*one, digest_of(*one)));
  EXPECT_FALSE(has_digest(*one, digest_of(*other)));
  EXPECT_FALSE(has_digest(*one, ""));
}

TEST(JoinToken, ANodeIsNamedAsInKubernetes) {
  for (const char* good : {"n", "node-1", "a.b-c.d", "10.0.0.1"}) EXPECT_TRUE(is_node_name(good)) << good;
  for (const std::string& bad :
       {std::string(), std::string("Node"), std::string("a_b"), std::string("-a"), std::string("a-"),
        std::string("a..b"), std::string("a.-b"), std::string("a/b"), std::string(".."),
        std::string(254, 'a'), std::string("a\0b", 3)})
    EXPECT_FALSE(is_node_name(bad)) << bad;
}

TEST(GuessLimit, FiveAMinuteFromOneAddressAndNobodyElseWaits) {
  GuessLimit limit;
  absl::Time now = absl::FromUnixSeconds(1'000'000);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(limit.wait("a", now), absl::ZeroDuration());
    limit.failed("a", now);
  }
  EXPECT_EQ(limit.wait("a", now), absl::Minutes(1));
  EXPECT_EQ(limit.wait("b", now), absl::ZeroDuration());
  now += absl::Seconds(59);
  EXPECT_EQ(limit.wait("a", now), absl::Seconds(1));
  now += absl::Seconds(1);
  EXPECT_EQ(limit.wait("a", now), absl::ZeroDuration());
  limit.failed("a", now);
  EXPECT_EQ(limit.wait("a", now), absl::ZeroDuration()) << "a new window";
}

TEST(GuessLimit, RemembersABoundedNumber) {
  GuessLimit limit;
  absl::Time now = absl::FromUnixSeconds(1'000'000);
  for (size_t i = 0; i < GuessLimit::kMostKept + 100; ++i)
    limit.failed(str_cat("who", i), now += absl::Milliseconds(1));
  EXPECT_EQ(limit.kept(), GuessLimit::kMostKept);
}

TEST(GuessLimit, WhoHasA64IsOne) {
  EXPECT_EQ(guesser_of("ipv4:10.0.0.1:4711"), "10.0.0.1");
  EXPECT_EQ(guesser_of("ipv6:%5Bfd00::1:2:3:4%5D:4711"), guesser_of("ipv6:[fd00::9]:80"));
  EXPECT_NE(guesser_of("ipv6:[fd00:0:0:1::9]:80"), guesser_of("ipv6:[fd00::9]:80"));
  EXPECT_EQ(guesser_of("unix:"), "unix:");
}

class JoinDeskTest : public testing::Test {
 protected:
  void SetUp() override { open(); }

  void open() {
    auto desk = JoinDesk::open({.folder = folder_.file("join"), .now = [this] { return now_; }});
    ASSERT_TRUE(desk.ok()) << desk.status();
    desk_ = *std::move(desk);
  }
  TokenStore store() const { return TokenStore(folder_.file("join")); }
  std::string token(const std::string& node = "n1", absl::Duration life = absl::Hours(1)) {
    auto made = store().create(node, life, now_);
    EXPECT_TRUE(made.ok()) << made.status();
    return made.ok() ? *made : "";
  }
  absl::StatusOr<std::string> join(const std::string& token, const std::string& node = "n1",
                                   const std::string& peer = kPeer) {
    return desk_->join(token, node, request_, peer);
  }
  std::string every_file() const {
    std::stringstream out;
    for (const auto& entry : fs::recursive_directory_iterator(folder_.path())) {
      out << entry.path().string() << "\n";
      if (entry.is_regular_file()) out << std::ifstream(entry.path()).rdbuf();
    }
    return out.str();
  }

  const weft::test::ScratchFolder folder_;
  absl::Time now_ = absl::Now();
  const KeyPtr key_ = test::p256_key();
  const std::string request_ = test::request_pem(key_.get(), {});
  std::unique_ptr<JoinDesk> desk_;
};

TEST_F(JoinDeskTest, ATokenMakesItsNodeAMemberOnce) {
  const std::string text = token();
  const auto chain = join(text);
  ASSERT_TRUE(chain.ok()) << chain.status();
  const auto read = read_certificates(*chain);
  ASSERT_TRUE(read.ok()) << read.status();
  X509* const leaf = read->front().get();
  EXPECT_EQ(node_of_certificate(leaf), "n1");
  EXPECT_EQ(X509_check_private_key(leaf, key_.get()), 1);
  EXPECT_EQ(X509_get_extended_key_usage(leaf), static_cast<uint32_t>(XKU_SSL_CLIENT));
  EXPECT_GT(not_after(leaf), now_ + absl::Hours(23));
  EXPECT_LT(not_after(leaf), now_ + absl::Hours(25));
  EXPECT_TRUE(desk_->admit(leaf, "n1").ok());
  EXPECT_THAT(*store().nodes(), ElementsAre("n1"));
}

TEST_F(JoinDeskTest, AReplayedTokenIsRefusedAndSaysSo) {
  EXPECT_THAT(desk_->counts(), ElementsAre(Pair("joined", 0u), Pair("replayed", 0u))) << "for the alert";
  const std::string text = token();
  ASSERT_TRUE(join(text).ok());
  for (const char* peer : {kPeer, "ipv4:10.9.9.9:1"}) {
    const auto again = join(text, "n1", peer);
    ASSERT_FALSE(again.ok());
    EXPECT_EQ(again.status().code(), absl::StatusCode::kAlreadyExists);
    EXPECT_THAT(std::string(again.status().message()),
                AllOf(HasSubstr("was used already"), HasSubstr("weft join-token create")));
  }
  open();
  EXPECT_TRUE(absl::IsAlreadyExists(join(text).status())) << "by the next process too";
  EXPECT_EQ(desk_->counts().at("replayed"), 1u);
}

TEST_F(JoinDeskTest, OfManyWhoBringOneTokenAtOnceOneJoins) {
  const std::string text = token();
  std::atomic<int> joined = 0, replayed = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      const auto chain = join(text, "n1", str_cat("ipv4:10.0.0.", i, ":1"));
      joined += chain.ok() ? 1 : 0;
      replayed += absl::IsAlreadyExists(chain.status()) ? 1 : 0;
    });
  for (std::thread& each : threads) each.join();
  EXPECT_EQ(joined, 1);
  EXPECT_EQ(replayed, 7);
}

TEST_F(JoinDeskTest, AnExpiredTokenIsRefused) {
  const std::string text = token("n1", absl::Minutes(10));
  now_ += absl::Minutes(10);
  const auto late = join(text);
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(late.status().message()), HasSubstr("has expired"));
}

TEST_F(JoinDeskTest, ATokenIsOfNoUseToAnotherNodeAndStaysGood) {
  const std::string text = token("n1");
  const auto other = join(text, "n2");
  ASSERT_FALSE(other.ok());
  EXPECT_TRUE(absl::IsPermissionDenied(other.status())) << other.status();
  EXPECT_THAT(std::string(other.status().message()), HasSubstr("for node n1, not for n2"));
  EXPECT_THAT(*store().nodes(), IsEmpty());
  EXPECT_TRUE(join(text, "n1").ok());
}

TEST_F(JoinDeskTest, ARequestThatCannotBeSignedUsesNoTokenUp) {
  const std::string text = token();
  for (const std::string& bad :
       {std::string("nonsense"), test::request_pem(test::rsa_key().get(), {.digest = EVP_sha256()}),
        test::request_pem(key_.get(), {.names = {{GEN_URI, "spiffe://cluster.local/ns/a/sa/b"}}}),
        test::request_pem(key_.get(), {.subject = "system:node:other"})})
    EXPECT_TRUE(absl::IsInvalidArgument(desk_->join(text, "n1", bad, kPeer).status())) << bad;
  EXPECT_TRUE(join(text).ok());
}

TEST_F(JoinDeskTest, WhoGuessesHearsNothingAndThenWaits) {
  const std::string good = token();
  std::string wrong = good;
  wrong.back() = wrong.back() == '0' ? '1' : '0';
  for (int i = 0; i < 5; ++i) {
    const auto guess = join(wrong);
    ASSERT_FALSE(guess.ok());
    EXPECT_EQ(guess.status().code(), absl::StatusCode::kUnauthenticated);
    EXPECT_THAT(std::string(guess.status().message()), HasSubstr("no such join token"));
  }
  const auto limited = join(good);
  ASSERT_FALSE(limited.ok());
  EXPECT_TRUE(absl::IsResourceExhausted(limited.status())) << limited.status();
  EXPECT_THAT(std::string(limited.status().message()), HasSubstr("again in 61 s"));
  EXPECT_TRUE(join(good, "n1", "ipv4:10.0.0.2:1").ok()) << "from elsewhere";
}

TEST_F(JoinDeskTest, WhatIsNoTokenCountsAsAGuess) {
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(absl::IsInvalidArgument(join("weft-join.").status()));
  EXPECT_TRUE(absl::IsResourceExhausted(join("weft-join.").status()));
}

TEST_F(JoinDeskTest, NoFileHasTheTokenOrMayBeReadByOthers) {
  const std::string text = token();
  const auto parsed = parse_join_token(text);
  EXPECT_THAT(every_file(), Not(HasSubstr(parsed->secret)));
  ASSERT_TRUE(join(text).ok());
  EXPECT_THAT(every_file(), Not(HasSubstr(parsed->secret)));
  for (const char* part : {"tokens", "used", "nodes"}) {
    struct stat st{};
    ASSERT_EQ(::stat(folder_.file(str_cat("join/", part)).c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0700u) << part;
  }
  struct stat st{};
  ASSERT_EQ(::stat(folder_.file(str_cat("join/used/", parsed->id)).c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
}

TEST_F(JoinDeskTest, AFileThatOthersCouldReadOrThatIsDamagedIsNoToken) {
  const std::string text = token();
  const std::string file = folder_.file(str_cat("join/tokens/", parse_join_token(text)->id));
  ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
  EXPECT_TRUE(absl::IsUnauthenticated(join(text).status()));
  ASSERT_EQ(::chmod(file.c_str(), 0600), 0);
  std::ofstream(file) << R"({"node": "../x", "expires": 99999999999, "sha256": ")"
                      << digest_of(*parse_join_token(text)) << "\"}";
  EXPECT_TRUE(absl::IsUnauthenticated(join(text).status()));
}

TEST_F(JoinDeskTest, ARemovedNodeIsNoneForItsCertificateEither) {
  const auto chain = join(token());
  ASSERT_TRUE(chain.ok()) << chain.status();
  const auto read = read_certificates(*chain);
  ASSERT_TRUE(desk_->renew("n1", request_).ok());
  token("n1");
  ASSERT_TRUE(*store().remove("n1"));
  EXPECT_TRUE(absl::IsUnauthenticated(desk_->admit(read->front().get(), "n1")));
  EXPECT_TRUE(absl::IsPermissionDenied(desk_->renew("n1", request_).status()));
  const std::vector<TokenStore::Row> left = *store().list();
  for (const TokenStore::Row& row : left) EXPECT_TRUE(row.used) << "unused ones are gone";
  EXPECT_FALSE(*store().remove("n1"));
  EXPECT_TRUE(join(token()).ok()) << "with a new token";
}

TEST_F(JoinDeskTest, WhatWasRemovedStaysSoWhenANodeOfThatNameJoinsAgain) {
  const auto admitted = [this](const absl::StatusOr<std::string>& chain) {
    return desk_->admit(read_certificates(*chain)->front().get(), "n1");
  };
  const auto first = join(token());
  ASSERT_TRUE(first.ok()) << first.status();
  now_ += absl::Minutes(10);
  const auto renewed = desk_->renew("n1", request_);
  ASSERT_TRUE(renewed.ok()) << renewed.status();
  EXPECT_TRUE(admitted(first).ok()) << "a renewal takes nothing away";
  EXPECT_TRUE(admitted(renewed).ok());
  ASSERT_TRUE(*store().remove("n1"));
  now_ += absl::Seconds(1);
  const auto second = join(token());
  ASSERT_TRUE(second.ok()) << second.status();
  for (const auto& removed : {first, renewed}) {
    EXPECT_TRUE(absl::IsUnauthenticated(admitted(removed))) << admitted(removed);
    EXPECT_THAT(std::string(admitted(removed).message()), HasSubstr("has joined again since"));
  }
  EXPECT_TRUE(admitted(second).ok()) << admitted(second);
}

TEST_F(JoinDeskTest, WhatAReplicaRenewsCountsThoughItsClockIsBehind) {
  ASSERT_TRUE(join(token()).ok());
  now_ -= absl::Seconds(5);
  const auto renewed = desk_->renew("n1", request_);
  ASSERT_TRUE(renewed.ok()) << renewed.status();
  EXPECT_TRUE(desk_->admit(read_certificates(*renewed)->front().get(), "n1").ok());
}

TEST_F(JoinDeskTest, ANodeOfWhichItIsNotKnownSinceWhenItIsOneIsNone) {
  const auto chain = join(token());
  ASSERT_TRUE(chain.ok()) << chain.status();
  std::ofstream(folder_.file("join/nodes/n1")) << "{";
  EXPECT_TRUE(absl::IsUnauthenticated(desk_->admit(read_certificates(*chain)->front().get(), "n1")));
  EXPECT_TRUE(absl::IsPermissionDenied(desk_->renew("n1", request_).status()));
}

TEST_F(JoinDeskTest, ATokenThatCannotBeReadKeepsNoNodeFromBeingRemoved) {
  const auto chain = join(token());
  ASSERT_TRUE(chain.ok()) << chain.status();
  const std::string unused = token();
  std::ofstream(folder_.file("join/tokens/0000000000000000")) << "{";
  const auto removed = store().remove("n1");
  ASSERT_FALSE(removed.ok());
  EXPECT_THAT(std::string(removed.status().message()),
              AllOf(HasSubstr("node n1 is removed, its tokens may not be"), HasSubstr("0000000000000000")));
  EXPECT_TRUE(absl::IsUnauthenticated(desk_->admit(read_certificates(*chain)->front().get(), "n1")));
  EXPECT_FALSE(join(unused).ok()) << "what can be read is gone too";
}

TEST_F(JoinDeskTest, ATokenByWhichNobodyJoinedIsGivenBack) {
  const std::string text = token();
  // Where the node would be noted there is a folder, which no file can take the place of.
  fs::create_directories(folder_.file("join/nodes/n1/x"));
  const auto failed = join(text);
  ASSERT_FALSE(failed.ok());
  EXPECT_FALSE(absl::IsAlreadyExists(failed.status())) << failed.status();
  fs::remove_all(folder_.file("join/nodes/n1"));
  const auto joined = join(text);
  EXPECT_TRUE(joined.ok()) << joined.status();
}

TEST_F(JoinDeskTest, CertificatesOfOthersAreNotItsToJudge) {
  const test::Authority others = test::make_authority("others");
  const test::Leaf leaf = test::make_leaf(others, {.names = {{GEN_DNS, "n9"}}});
  EXPECT_TRUE(desk_->admit(leaf.certificate.get(), "n9").ok());
}

TEST_F(JoinDeskTest, TokensAreMadeForNodesAndAWhile) {
  EXPECT_FALSE(store().create("No Node", absl::Hours(1), now_).ok());
  EXPECT_FALSE(store().create("../x", absl::Hours(1), now_).ok());
  EXPECT_FALSE(store().create("n1", absl::Seconds(59), now_).ok());
  EXPECT_FALSE(store().create("n1", absl::Hours(24 * 7 + 1), now_).ok());
  EXPECT_THAT(
      std::string(
          TokenStore(folder_.file("elsewhere")).create("n1", absl::Hours(1), now_).status().message()),
      HasSubstr("weft-control --join-dir"));
}

TEST_F(JoinDeskTest, ADayAfterTheyExpiredTokensAreForgotten) {
  const std::string used = token(), unused = token("n2");
  ASSERT_TRUE(join(used).ok());
  now_ += absl::Hours(24);
  ASSERT_TRUE(desk_->tick().ok());
  EXPECT_EQ(store().list()->size(), 2u);
  now_ += absl::Hours(1);
  ASSERT_TRUE(desk_->tick().ok());
  EXPECT_THAT(*store().list(), IsEmpty());
  EXPECT_THAT(*store().nodes(), ElementsAre("n1"));
}

}  // namespace
}  // namespace weft::control_plane
