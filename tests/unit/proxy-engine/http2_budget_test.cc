// What one pod's HTTP/2 clients may make the proxy hold, through a real worker: decoded heads for each byte
// that they sent.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/unit/proxy-engine/http2_wire.h"
#include "userspace-proxy/exchange/admission.h"

namespace weft::proxy {
namespace {

using ::testing::Contains;
using ::testing::IsEmpty;

TEST(Http2BudgetTest, HeadsMayHoldTheFreePartAndFourTimesWhatWasSent) {
  Admission admission(AdmissionLimits{.pod_head_bytes = 1000});
  PodUse pod;
  pod.head_bytes = 900;
  EXPECT_TRUE(admission.admit_head(pod, 100));
  EXPECT_FALSE(admission.admit_head(pod, 101));
  pod.http2_received_bytes = 10;
  EXPECT_TRUE(admission.admit_head(pod, 140));
  EXPECT_FALSE(admission.admit_head(pod, 141));
  EXPECT_EQ(admission.shed(), 2u);
}

// A connection that holds as many decoded bytes as it can for the bytes it sends: a large field in the table,
// named again and again.
class Bomber {
 public:
  explicit Bomber(const Rig& rig) : connection_(rig.connect()) {
    send(preface());
    for (uint32_t i = 0; i < 40; ++i) {
      std::string block = request_block("POST");
      if (i == 0) block += "\x40" + literal("x-big", std::string(3900, 'v')).substr(1);
      send(frame(NGHTTP2_HEADERS, kEndHeaders, 2 * i + 1, block + std::string(15, '\xbe')));
    }
    send(frame(NGHTTP2_PING, 0, 0, "all-read"));
  }
  void await() { said_ += connection_.read_until("all-read"); }
  // What the worker has said by now.
  Endings endings() {
    send(frame(NGHTTP2_PING, 0, 0, "said-all"));
    said_ += connection_.read_until("said-all");
    return endings_in(said_);
  }
  size_t sent() const { return sent_; }

 private:
  void send(std::string_view bytes) {
    sent_ += bytes.size();
    connection_.send(bytes);
  }
  TestConnection connection_;
  size_t sent_ = 0;
  std::string said_;
};

TEST(Http2BudgetTest, ABombOfManyConnectionsHoldsFourBytesForEachByteSent) {
  TestServer server([](TestConnection& c) { c.read_to_end(); });
  Rig::Setup setup = to(server.address(), ClusterProtocol::kHttp1);
  setup.options.pod_head_bytes = 64 * 1024;
  Rig rig(setup);
  std::deque<Bomber> bombers;
  size_t sent = 0;
  std::vector<uint32_t> resets;
  for (int i = 0; i < 20; ++i) {
    Bomber& bomber = bombers.emplace_back(rig);
    bomber.await();
    sent += bomber.sent();
  }
  // The gauge follows at the end of the worker's turn.
  EXPECT_TRUE(rig.wait_for([&] { return rig.worker().gauges().held_head_bytes > 64 * 1024; }));
  EXPECT_TRUE(rig.wait_for([&] { return rig.worker().gauges().shed_requests > 0; }));
  const uint64_t held = rig.worker().gauges().held_head_bytes;
  EXPECT_LE(held, 64 * 1024 + 4 * sent);
  for (Bomber& bomber : bombers) {
    const Endings endings = bomber.endings();
    resets.insert(resets.end(), endings.resets.begin(), endings.resets.end());
  }
  EXPECT_THAT(resets, Contains(NGHTTP2_REFUSED_STREAM));
  bombers.clear();
  EXPECT_TRUE(rig.wait_for([&] { return rig.worker().gauges().held_head_bytes == 0; }));
}

TEST(Http2BudgetTest, ManyEqualRequestsOfAnHonestClientAreTaken) {
  TestServer server([](TestConnection& c) {
    for (std::string head = c.read_message(); !head.empty(); head = c.read_message()) c.send(ok_response(""));
  });
  Rig rig(to(server.address(), ClusterProtocol::kHttp1));
  TestConnection connection = rig.connect();
  WirePeer wire(Http2Session::Role::kClient, connection);
  std::deque<RecordingStream> requests(100);
  const std::string token(1500, 't');
  Http2Fields fields = service_request("GET", "/");
  fields.add("authorization", token);
  for (RecordingStream& each : requests) ASSERT_TRUE(wire.peer.session->send_request(each, fields, true));
  EXPECT_TRUE(wire.turn_until([&] {
    for (const RecordingStream& each : requests) {
      if (each.closed.empty()) return false;
    }
    return true;
  }));
  for (const RecordingStream& each : requests) EXPECT_EQ(each.field(0, ":status"), "200");
}

}  // namespace
}  // namespace weft::proxy
