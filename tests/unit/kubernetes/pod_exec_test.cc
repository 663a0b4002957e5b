// A command in a container by the API server's exec over WebSocket, against a stand-in for the server that
// sees the bytes: what is asked, what comes back, and what is said when it is refused, breaks or ends.
#include "control-plane/kubernetes/pod_exec.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <fstream>
#include <functional>
#include <thread>

#include "absl/synchronization/notification.h"
#include "base/strings.h"
#include "control-plane/kubernetes/agent_pods.h"
#include "control-plane/kubernetes/web_socket.h"
#include "tests/unit/base/scratch_folder.h"
#include "tests/unit/kubernetes/fake_api_server.h"

namespace weft::control_plane {
namespace {

using ::testing::HasSubstr;

// As servers send it.
std::string frame(FrameKind kind, std::string_view payload, bool last = true) {
  std::string out(1, static_cast<char>((last ? 0x80 : 0) | static_cast<uint8_t>(kind)));
  if (payload.size() < 126) {
    out.push_back(static_cast<char>(payload.size()));
  } else {
    out.push_back(126);
    out.push_back(static_cast<char>(payload.size() >> 8));
    out.push_back(static_cast<char>(payload.size()));
  }
  return out.append(payload);
}
std::string of_channel(char channel, std::string_view text) { return str_cat(std::string(1, channel), text); }

// One connection on a thread.
class StandIn {
 public:
  // `buffer`: of the kernel, in bytes; 0: its default.
  explicit StandIn(std::function<void(StandIn&)> story, int buffer = 0) {
    listener_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (buffer > 0) ::setsockopt(listener_.get(), SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    auto* const raw = reinterpret_cast<sockaddr*>(&address);
    ::bind(listener_.get(), raw, length);
    ::listen(listener_.get(), 1);
    ::getsockname(listener_.get(), raw, &length);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this, story = std::move(story)] {
      socket_.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      while (head_.find("\r\n\r\n") == std::string::npos && receive(head_)) {
      }
      story(*this);
      socket_.reset();
    });
  }
  ~StandIn() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }

  ApiAccess access() const {
    ApiAccess out;
    out.server = str_cat("http://127.0.0.1:", port_, "/prefix");
    out.token = "secret";
    return out;
  }
  const std::string& head() const { return head_; }
  std::string field(const std::string& name) const {
    const size_t at = head_.find(name + ": ") + name.size() + 2;
    return head_.substr(at, head_.find("\r\n", at) - at);
  }
  void accept(const std::string& protocol = "v5.channel.k8s.io") {
    send(str_cat("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
                 "sec-websocket-ACCEPT: ", web_socket_accept(field("Sec-WebSocket-Key")),
                 "\r\nSec-WebSocket-Protocol: ", protocol, "\r\n\r\n"));
  }
  void send(std::string_view text) { ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL); }
  // The client's next frame, unmasked: its first byte of two, and the payload; "" when it has ended.
  std::string read_frame() {
    while (input_.size() < 6 && receive(input_)) {
    }
    if (input_.size() < 6) return "";
    const size_t size = static_cast<uint8_t>(input_[1]) & 0x7f;
    EXPECT_NE(static_cast<uint8_t>(input_[1]) & 0x80, 0) << "not masked";
    EXPECT_LT(size, 126U);
    while (input_.size() < 6 + size && receive(input_)) {
    }
    std::string out(1, input_[0]);
    for (size_t i = 0; i < size; ++i) out.push_back(static_cast<char>(input_[6 + i] ^ input_[2 + i % 4]));
    input_.erase(0, 6 + size);
    return out;
  }

 private:
  bool receive(std::string& to) {
    char buffer[4096];
    const ssize_t got = ::recv(socket_.get(), buffer, sizeof(buffer), 0);
    if (got > 0) to.append(buffer, static_cast<size_t>(got));
    return got > 0;
  }

  UniqueFd listener_, socket_;
  uint16_t port_ = 0;
  std::string head_, input_;
  std::thread thread_;
};

// Of a socket that does not block, until its end.
std::string read_all(int socket) {
  std::string out;
  char buffer[4096];
  while (true) {
    pollfd one{.fd = socket, .events = POLLIN, .revents = 0};
    if (::poll(&one, 1, 20'000) <= 0) return out + " (late)";
    const ssize_t got = ::recv(socket, buffer, sizeof(buffer), 0);
    if (got <= 0) return out;
    out.append(buffer, static_cast<size_t>(got));
  }
}

const PodCommand kCommand{
    .ns = "weft-system", .pod = "weft-agent-x", .container = "agent", .words = {"weft", "a b&c"}};

class PodExecTest : public testing::Test {
 protected:
  void SetUp() override { ::signal(SIGPIPE, SIG_IGN); }
};

TEST_F(PodExecTest, WhatIsWrittenIsTheInputAndWhatIsReadTheOutput) {
  std::string said;
  StandIn server([&said](StandIn& s) {
    s.accept();
    said = s.read_frame();
    s.send(frame(FrameKind::kPing, "are you there"));
    EXPECT_EQ(s.read_frame(), std::string("\x8a") + "are you there");
    // In two frames, a control frame between them, and one that is long.
    s.send(frame(FrameKind::kBinary, of_channel(1, "an"), false));
    s.send(frame(FrameKind::kPong, ""));
    s.send(frame(FrameKind::kContinued, "swer "));
    s.send(frame(FrameKind::kBinary, of_channel(1, std::string(1'000, 'x'))));
    s.send(frame(FrameKind::kBinary, of_channel(3, R"({"status":"Success"})")));
    s.send(frame(FrameKind::kClose, ""));
  });
  auto stream = PodStream::open(server.access(), kCommand);
  ASSERT_TRUE(stream.ok()) << stream.status();
  const UniqueFd socket = (*stream)->take_socket();
  ASSERT_EQ(::send(socket.get(), "question", 8, MSG_NOSIGNAL), 8);
  EXPECT_EQ(read_all(socket.get()), "answer " + std::string(1'000, 'x'));
  EXPECT_EQ((*stream)->problem(), "");
  EXPECT_EQ(said, std::string("\x82\0question", 10));
  EXPECT_THAT(
      server.head(),
      HasSubstr("GET /prefix/api/v1/namespaces/weft-system/pods/weft-agent-x/exec?stdin=true&stdout=true&"
                "stderr=true&container=agent&command=weft&command=a%20b%26c HTTP/1.1\r\n"));
  EXPECT_EQ(server.field("Authorization"), "Bearer secret");
  EXPECT_EQ(server.field("Upgrade"), "websocket");
}

TEST_F(PodExecTest, WhyTheCommandEndedIsTold) {
  StandIn server([](StandIn& s) {
    s.accept("v4.channel.k8s.io");
    s.send(frame(FrameKind::kBinary, of_channel(2, "error: unknown command __relay\n")));
    s.send(frame(FrameKind::kBinary, of_channel(3, R"({"status":"Failure","message":"exit code 64"})")));
  });
  auto stream = PodStream::open(server.access(), kCommand);
  ASSERT_TRUE(stream.ok()) << stream.status();
  const UniqueFd socket = (*stream)->take_socket();
  EXPECT_EQ(read_all(socket.get()), "");
  EXPECT_EQ((*stream)->problem(), "error: unknown command __relay; exit code 64");
}

TEST_F(PodExecTest, WhoGoesAwayEndsTheCommand) {
  std::string last;
  {
    StandIn server([&last](StandIn& s) {
      s.accept();
      last = s.read_frame();
    });
    auto stream = PodStream::open(server.access(), kCommand);
    ASSERT_TRUE(stream.ok()) << stream.status();
  }
  EXPECT_EQ(last, "\x88");
}

TEST_F(PodExecTest, WhoGoesAwayIsFreeAlsoOfAServerThatReadsNothing) {
  absl::Notification accepted, gone;
  StandIn server(
      [&](StandIn& s) {
        s.accept();
        accepted.Notify();
        gone.WaitForNotification();
      },
      4096);
  auto stream = PodStream::open(server.access(), kCommand);
  if (stream.ok()) {
    accepted.WaitForNotification();
    const UniqueFd socket = (*stream)->take_socket();
    // Until all that can be held on the way is. A ping has the stream look again for room.
    const std::string bytes(64 << 10, 'x');
    pollfd one{.fd = socket.get(), .events = POLLOUT, .revents = 0};
    for (int turn = 0; turn < 5; ++turn) {
      while (::poll(&one, 1, 200) > 0) ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      server.send(frame(FrameKind::kPing, ""));
    }
    stream->reset();
  }
  gone.Notify();
  EXPECT_TRUE(stream.ok()) << stream.status();
}

TEST_F(PodExecTest, ARefusalNamesTheVerbAndWhatToDo) {
  StandIn server([](StandIn& s) {
    const std::string body =
        R"({"kind":"Status","message":"pods \"weft-agent-x\" is forbidden: User \"ann\" cannot create"})";
    s.send(str_cat("HTTP/1.1 403 Forbidden\r\nContent-Length: ", body.size(), "\r\n\r\n", body));
  });
  const auto stream = PodStream::open(server.access(), kCommand);
  EXPECT_EQ(stream.status().code(), absl::StatusCode::kPermissionDenied);
  const std::string message(stream.status().message());
  EXPECT_THAT(message, HasSubstr("cannot create"));
  EXPECT_THAT(
      message,
      HasSubstr("; next: have the verbs get and create of pods/exec granted in namespace weft-system"));
  EXPECT_THAT(message, testing::Not(HasSubstr("secret")));
}

TEST_F(PodExecTest, WhatIsNoWebSocketIsRefused) {
  const std::pair<std::string, std::string> answers[] = {
      {"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: other\r\n"
       "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n",
       "accepts another WebSocket"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "HTTP status 200: hi"},
      {"", "ended the connection"}};
  for (const auto& [answer, words] : answers) {
    StandIn server([text = answer](StandIn& s) { s.send(text); });
    const auto stream = PodStream::open(server.access(), kCommand);
    EXPECT_EQ(stream.status().code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(stream.status().message()), HasSubstr(words));
  }
  StandIn old([](StandIn& s) { s.accept("v1"); });
  EXPECT_THAT(std::string(PodStream::open(old.access(), kCommand).status().message()),
              HasSubstr("no version of exec"));
}

TEST(WebSocketTest, TheAnswerToAKeyIsThatOfTheSpecification) {
  // RFC 6455, 1.3.
  EXPECT_EQ(web_socket_accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  EXPECT_EQ(web_socket_key().size(), 24U);
  EXPECT_NE(web_socket_key(), web_socket_key());
}

TEST(WebSocketTest, AFrameIsMaskedWhateverItsLength) {
  for (const auto& [size, head] : {std::pair<size_t, size_t>{5, 6}, {126, 8}, {70'000, 14}}) {
    std::string out;
    append_frame(FrameKind::kBinary, std::string(size, 'p'), 0x04030201, out);
    ASSERT_EQ(out.size(), head + size);
    EXPECT_EQ(out[head], 'p' ^ 1);
    EXPECT_EQ(out[head + 3], 'p' ^ 4);
  }
}

TEST(WebSocketTest, FramesThatAreNoneEndTheReading) {
  // Masked, of a reserved bit, a fragment of nothing, a control frame that is too long, a message that is too
  // long.
  for (const std::string& bytes :
       {std::string("\x82\x81\x00\x00\x00\x00x", 7), std::string("\xc2\x01x", 3), std::string("\x80\x01x", 3),
        std::string("\x89\x7e\x00\x7e", 4), std::string("\x82\x7f\x00\x00\x00\x01\x00\x00\x00\x00", 10)}) {
    FrameReader reader;
    reader.feed(bytes);
    EXPECT_FALSE(reader.next().ok());
  }
  FrameReader reader;
  const std::string whole = frame(FrameKind::kBinary, std::string(200, 'y'));
  for (size_t i = 0; i + 1 < whole.size(); ++i) {
    reader.feed(whole.substr(i, 1));
    const auto early = reader.next();
    ASSERT_TRUE(early.ok());
    EXPECT_FALSE(early->has_value());
  }
  reader.feed(whole.substr(whole.size() - 1));
  EXPECT_EQ((*reader.next())->payload, std::string(200, 'y'));
}

class AgentPodsTest : public testing::Test {
 protected:
  void SetUp() override {
    question_.kubeconfig = folder_.file("kubeconfig");
    std::ofstream(question_.kubeconfig)
        << "current-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"
        << "clusters: [{name: c, cluster: {server: '" << server_.url()
        << "'}}]\nusers: [{name: u, user: {token: t}}]\n";
  }
  static test::Json pod(const std::string& name, const std::string& node, const std::string& phase) {
    return {{"metadata", {{"namespace", "weft-system"}, {"name", name}}},
            {"spec",
             {{"nodeName", node},
              {"containers",
               {{{"name", "other"}, {"args", {"--run-dir=/no"}}},
                {{"name", "agent"}, {"args", {"--run-dir=/run/w"}}}}}}},
            {"status", {{"phase", phase}}}};
  }

  const weft::test::ScratchFolder folder_;
  test::FakeApiServer server_;
  ClusterQuestion question_;
};

TEST_F(AgentPodsTest, AreThoseThatRunByTheirNodes) {
  server_.install("/api/v1/namespaces/weft-system/pods");
  server_.put("/api/v1/namespaces/weft-system/pods", pod("weft-agent-b", "n2", "Running"));
  server_.put("/api/v1/namespaces/weft-system/pods", pod("weft-agent-a", "n1", "Running"));
  server_.put("/api/v1/namespaces/weft-system/pods", pod("weft-agent-c", "n3", "Pending"));
  const auto pods = list_agent_pods(question_);
  ASSERT_TRUE(pods.ok()) << pods.status();
  ASSERT_EQ(pods->size(), 2U);
  EXPECT_EQ(pods->front().node, "n1");
  EXPECT_EQ(pods->front().name, "weft-agent-a");
  EXPECT_EQ(pods->front().run_dir, "/run/w");
  const auto asked = server_.requests("/api/v1/namespaces/weft-system/pods");
  ASSERT_FALSE(asked.empty());
  EXPECT_THAT(asked.front().value("labelSelector"), HasSubstr("component"));
}

TEST_F(AgentPodsTest, WhoMayNotListThemIsToldTheVerbAndWhereThereAreNoneWhereToLook) {
  server_.install("/api/v1/namespaces/weft-system/pods");
  EXPECT_EQ(list_agent_pods(question_).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(list_agent_pods(question_).status().message()), HasSubstr("--weft-namespace"));
  server_.set_script([](const test::FakeApiServer::Request&) {
    return test::FakeApiServer::Reply{.status = 403, .body = R"({"message":"pods is forbidden"})"};
  });
  const absl::Status refused = list_agent_pods(question_).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("the verb list of pods granted in namespace weft-system"));
  question_.ns = "../x";
  EXPECT_EQ(list_agent_pods(question_).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace weft::control_plane
