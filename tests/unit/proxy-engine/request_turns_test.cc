// Requests of a pod with many connections beside those of another pod: each has its share of the worker's
// turns.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/unit/proxy-engine/turned_rig.h"

namespace weft::proxy {
namespace {

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: service\r\n\r\n";
constexpr size_t kClients = 40;
constexpr size_t kInATurn = FairShare::kQuantum / FairShare::kRequest;

class RequestTurnsTest : public ::testing::Test {
 protected:
  RequestTurnsTest() {
    for (size_t i = 0; i < kClients; ++i) clients_.push_back(rig_.connect());
    other_ = rig_.connect_other();
  }
  void all_ask() {
    for (FarEnd& client : clients_) ASSERT_EQ(client.send(kGet), kGet.size());
  }
  uint64_t begun() { return rig_.pod().use->exchanges.get(); }
  // Turns until so many have begun; how many did in one turn at most.
  uint64_t most_in_a_turn(uint64_t wanted) {
    uint64_t most = 0;
    EXPECT_TRUE(rig_.turn_until([&] {
      const uint64_t before = begun();
      rig_.turn();
      most = std::max(most, begun() - before);
      return begun() == wanted;
    }));
    return most;
  }

  TurnedRig rig_;
  std::vector<FarEnd> clients_;
  FarEnd other_;
};

TEST_F(RequestTurnsTest, AreBegunInAShareOfEachTurnBesideAnotherPod) {
  ASSERT_TRUE(rig_.give(other_, kGet));
  all_ask();
  EXPECT_EQ(most_in_a_turn(kClients), kInATurn);
}

TEST_F(RequestTurnsTest, AreBegunAsTheyComeWhereNobodyElseAsks) {
  all_ask();
  EXPECT_GT(most_in_a_turn(kClients), kInATurn);
}

TEST_F(RequestTurnsTest, OfAClientThatLeavesBeforeItsTurnIsNeverBegun) {
  ASSERT_TRUE(rig_.give(other_, kGet));
  all_ask();
  // The kernel has told of all of them, and only some had their turn.
  ASSERT_TRUE(rig_.turn_until([&] { return begun() > 0; }));
  ASSERT_LT(begun(), kClients);
  for (FarEnd& client : clients_) client.reset();
  ASSERT_TRUE(rig_.turn_until([&] { return rig_.connections() == 1; }));
  EXPECT_LT(rig_.sink().count(), kClients);
}

// By half a preface it may be HTTP/2. Its time is over while others of the pod wait for their turn, and its
// connection still waits for bytes.
TEST_F(RequestTurnsTest, OfAHeadThatTookTooLongIsAnsweredInItsTurn) {
  FarEnd slow = rig_.connect();
  ASSERT_TRUE(rig_.give(slow, "PR"));
  ASSERT_TRUE(rig_.give(other_, kGet));
  all_ask();
  ASSERT_TRUE(rig_.turn_until([&] { return begun() > 0; }));
  rig_.advance(60'000);
  rig_.turn();
  ASSERT_LT(begun(), kClients);
  ASSERT_FALSE(slow.has(" 408 "));
  slow.send("I");
  EXPECT_TRUE(rig_.turn_until([&] {
    rig_.advance(1);
    return slow.has(" 408 ");
  }));
}

}  // namespace
}  // namespace weft::proxy
