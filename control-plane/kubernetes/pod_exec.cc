// See pod_exec.h. libcurl makes the connection (TLS, proxies); a thread moves what goes over it.
#include "control-plane/kubernetes/pod_exec.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/synchronization/mutex.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "control-plane/kubernetes/curl_access.h"
#include "control-plane/kubernetes/json_tree.h"
#include "control-plane/kubernetes/server_text.h"
#include "control-plane/kubernetes/web_socket.h"

namespace weft::control_plane {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kConnect(10'000), kHandshake(15'000);
// For a reader that is slow, when the command has ended.
constexpr std::chrono::milliseconds kLast(2'000), kLookAgain(100);
constexpr size_t kMaxHead = 64 << 10, kMaxRefusal = 16 << 10;
// Held for a side that does not read.
constexpr size_t kMaxHeld = 256 << 10;
constexpr size_t kMaxProblem = 4 << 10;
// The first byte of each message.
constexpr char kInput = 0, kOutput = 1, kErrors = 2, kEnd = 3;

std::string escaped(CURL* easy, const std::string& text) {
  char* const out = curl_easy_escape(easy, text.c_str(), static_cast<int>(text.size()));
  const std::string copy = out == nullptr ? "" : out;
  curl_free(out);
  return copy;
}

// "https://host:6443/prefix": who is asked, and what stands before every path.
std::pair<std::string, std::string> host_and_prefix(const std::string& server) {
  const size_t begin = server.find("://") + 3;
  const size_t slash = std::min(server.find('/', begin), server.size());
  return {server.substr(begin, slash - begin), server.substr(slash)};
}

// Bytes of the connection, without waiting.
class Connection {
 public:
  absl::Status open(const ApiAccess& access) {
    RETURN_IF_ERROR(begin_curl());
    easy_.reset(curl_easy_init());
    if (easy_ == nullptr) return absl::ResourceExhaustedError("curl_easy_init failed");
    char error[CURL_ERROR_SIZE] = {};
    RETURN_IF_ERROR(secure(access, easy()));
    curl_easy_setopt(easy(), CURLOPT_URL, access.server.c_str());
    curl_easy_setopt(easy(), CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy(), CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy(), CURLOPT_CONNECT_ONLY, 1L);
    // What is negotiated by TLS: a WebSocket begins in HTTP/1.1.
    curl_easy_setopt(easy(), CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(easy(), CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(kConnect.count()));
    curl_easy_setopt(easy(), CURLOPT_ERRORBUFFER, error);
    if (!access.proxy.empty()) curl_easy_setopt(easy(), CURLOPT_PROXY, access.proxy.c_str());
    curl_easy_setopt(easy(), CURLOPT_HTTPPROXYTUNNEL, 1L);
    const CURLcode code = curl_easy_perform(easy());
    curl_easy_setopt(easy(), CURLOPT_ERRORBUFFER, nullptr);
    if (code != CURLE_OK)
      return absl::UnavailableError(
          str_cat(access.server, ": ",
                  is_about_tls(code) && error[0] != '\0' ? server_text(error) : curl_easy_strerror(code)));
    curl_socket_t socket = CURL_SOCKET_BAD;
    curl_easy_getinfo(easy(), CURLINFO_ACTIVESOCKET, &socket);
    socket_ = static_cast<int>(socket);
    return absl::OkStatus();
  }

  CURL* easy() const { return easy_.get(); }
  int socket() const { return socket_; }
  // Sends what it can of it. False: the connection is gone.
  bool send(std::string& bytes) {
    while (!bytes.empty()) {
      size_t sent = 0;
      const CURLcode code = curl_easy_send(easy(), bytes.data(), bytes.size(), &sent);
      if (code == CURLE_AGAIN) return true;
      if (code != CURLE_OK) return false;
      bytes.erase(0, sent);
    }
    return true;
  }
  // Appends what is there. False: the connection is gone.
  bool receive(std::string& out, size_t most) {
    char buffer[16 << 10];
    while (out.size() < most) {
      size_t got = 0;
      const CURLcode code = curl_easy_recv(easy(), buffer, sizeof(buffer), &got);
      if (code == CURLE_AGAIN) return true;
      if (code != CURLE_OK || got == 0) return false;
      out.append(buffer, got);
    }
    return true;
  }
  // False: not by then.
  bool wait(short events, Clock::time_point end) const {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    pollfd one{.fd = socket_, .events = events, .revents = 0};
    return left.count() > 0 && ::poll(&one, 1, static_cast<int>(left.count())) > 0;
  }

 private:
  std::unique_ptr<CURL, EasyDeleter> easy_;
  int socket_ = -1;
};

// The value of a field of a head; names in any case.
std::string field_of(std::string_view head, std::string_view name) {
  const std::string lower = absl::AsciiStrToLower(to_absl(head));
  const size_t at = lower.find(str_cat("\r\n", name, ":"));
  if (at == std::string::npos) return "";
  const size_t begin = at + name.size() + 3;
  const std::string_view value = head.substr(begin, head.find("\r\n", begin) - begin);
  return std::string(absl::StripAsciiWhitespace(to_absl(value)));
}

class Handshake {
 public:
  Handshake(Connection& connection, const ApiAccess& access, const PodCommand& command)
      : connection_(connection), access_(access), command_(command) {}

  // What the server sent behind its answer.
  absl::StatusOr<std::string> run() {
    ASSIGN_OR_RETURN(std::string request, this->request());
    const auto end = Clock::now() + kHandshake;
    while (true) {
      if (!connection_.send(request)) return gone();
      if (request.empty()) break;
      if (!connection_.wait(POLLOUT, end)) return late();
    }
    std::string input;
    size_t head_end = std::string::npos;
    while (head_end == std::string::npos) {
      const bool open = connection_.receive(input, kMaxHead);
      head_end = input.find("\r\n\r\n");
      if (head_end != std::string::npos) break;
      if (!open || input.size() >= kMaxHead) return gone();
      if (!connection_.wait(POLLIN, end)) return late();
    }
    const std::string head = input.substr(0, head_end + 2);
    input.erase(0, head_end + 4);
    const long status = head.size() > 12 ? std::atol(head.c_str() + 9) : 0;
    if (status != 101) return refused(status, head, std::move(input), end);
    if (field_of(head, "sec-websocket-accept") != web_socket_accept(key_))
      return absl::UnavailableError("the API server accepts another WebSocket than was asked for");
    if (!field_of(head, "sec-websocket-protocol").ends_with(".channel.k8s.io"))
      return absl::UnavailableError("the API server speaks no version of exec over WebSocket");
    return input;
  }

 private:
  absl::StatusOr<std::string> request() const {
    ASSIGN_OR_RETURN(const std::string token, current_token(access_));
    const auto& [host, prefix] = host_and_prefix(access_.server);
    const auto name = [&](const std::string& text) { return escaped(connection_.easy(), text); };
    std::string out =
        str_cat("GET ", prefix, "/api/v1/namespaces/", name(command_.ns), "/pods/", name(command_.pod),
                "/exec?stdin=true&stdout=true&stderr=true&container=", name(command_.container));
    for (const std::string& word : command_.words) str_append(&out, "&command=", name(word));
    str_append(&out, " HTTP/1.1\r\nHost: ", host,
               "\r\nUser-Agent: weft\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
               "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ", key_,
               "\r\nSec-WebSocket-Protocol: v5.channel.k8s.io, v4.channel.k8s.io\r\n");
    if (!token.empty()) str_append(&out, "Authorization: Bearer ", token, "\r\n");
    return out + "\r\n";
  }

  absl::Status refused(long status, const std::string& head, std::string body, Clock::time_point end) {
    size_t length = 0;
    if (const auto given = parse_integer<size_t>(field_of(head, "content-length"))) length = *given;
    while (body.size() < std::min(length, kMaxRefusal) && connection_.receive(body, kMaxRefusal)) {
      if (!connection_.wait(POLLIN, end)) break;
    }
    const std::string text = refusal_text(status, body);
    if (status == 401 || status == 403)
      return absl::PermissionDeniedError(
          str_cat("the API server does not let you run a command in pod ", command_.ns, "/", command_.pod,
                  " (", text, "); next: have the verbs get and create of pods/exec granted in namespace ",
                  command_.ns, " (docs/kubernetes.md)"));
    if (status == 404) return absl::NotFoundError(text);
    return absl::UnavailableError(str_cat("exec in pod ", command_.ns, "/", command_.pod, ": ", text));
  }

  absl::Status gone() const {
    return absl::UnavailableError(str_cat(access_.server, " ended the connection instead of an answer"));
  }
  absl::Status late() const {
    return absl::UnavailableError(
        str_cat(access_.server, " did not answer within ", kHandshake.count() / 1000, " s"));
  }

  Connection& connection_;
  const ApiAccess& access_;
  const PodCommand& command_;
  const std::string key_ = web_socket_key();
};

class PodStreamOverCurl final : public PodStream {
 public:
  ~PodStreamOverCurl() override {
    // Wakes the thread, which then closes the connection.
    if (inner_.valid()) ::shutdown(inner_.get(), SHUT_RDWR);
    if (thread_.joinable()) thread_.join();
  }

  absl::Status start(const ApiAccess& access, const PodCommand& command) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
      return absl::ResourceExhaustedError("no pair of sockets can be made");
    outer_.reset(pair[0]);
    inner_.reset(pair[1]);
    RETURN_IF_ERROR(connection_.open(access));
    ASSIGN_OR_RETURN(received_, Handshake(connection_, access, command).run());
    thread_ = std::thread([this] { move_all(); });
    return absl::OkStatus();
  }

  UniqueFd take_socket() override { return std::move(outer_); }
  std::string problem() const override {
    const absl::MutexLock lock(&mutex_);
    return problem_;
  }

 private:
  // Until one side has ended.
  void move_all() {
    bool open = true;
    while (open) {
      if (output_.size() < kMaxHeld) open = connection_.receive(received_, kMaxHeld);
      // More may be there that the socket does not show: TLS has read it.
      const bool more = received_.size() >= kMaxHeld;
      frames_.feed(std::exchange(received_, {}));
      open = read_messages() && open;
      open = pass_output() && open;
      open = take_input() && open;
      open = connection_.send(sending_) && open;
      if (!open) break;
      pollfd both[] = {{.fd = connection_.socket(),
                        .events = static_cast<short>((output_.size() < kMaxHeld ? POLLIN : 0) |
                                                     (sending_.empty() ? 0 : POLLOUT)),
                        .revents = 0},
                       {.fd = inner_.get(),
                        .events = static_cast<short>((sending_.size() < kMaxHeld ? POLLIN : 0) |
                                                     (output_.empty() ? 0 : POLLOUT)),
                        .revents = 0}};
      ::poll(both, 2, more ? 0 : -1);
      // Who called is gone, and what is held for a server that does not read hides the end of its input.
      if (sending_.size() >= kMaxHeld && (both[1].revents & (POLLHUP | POLLERR)) != 0) break;
    }
    deliver_rest();
    append_frame(FrameKind::kClose, "", mask(), sending_);
    static_cast<void>(connection_.send(sending_));
    ::shutdown(inner_.get(), SHUT_RDWR);
  }

  // What the command said last.
  void deliver_rest() {
    const auto end = Clock::now() + kLast;
    while (pass_output() && !output_.empty() && Clock::now() < end) {
      pollfd one{.fd = inner_.get(), .events = POLLOUT, .revents = 0};
      ::poll(&one, 1, static_cast<int>(kLookAgain.count()));
    }
  }

  // False: the server has ended.
  bool read_messages() {
    while (true) {
      absl::StatusOr<std::optional<FrameReader::Message>> message = frames_.next();
      if (!message.ok()) {
        note(to_std(message.status().message()));
        return false;
      }
      if (!*message) return true;
      FrameReader::Message& one = **message;
      if (one.kind == FrameKind::kClose) return false;
      // A server that asks and does not read gets no more answers than are held for it.
      if (one.kind == FrameKind::kPing && sending_.size() < kMaxHeld)
        append_frame(FrameKind::kPong, one.payload, mask(), sending_);
      if (one.kind == FrameKind::kBinary && !one.payload.empty()) take(one.payload);
    }
  }

  void take(std::string_view message) {
    const char channel = message.front();
    message.remove_prefix(1);
    if (channel == kOutput) output_.append(message);
    if (channel == kErrors) note(message);
    if (channel != kEnd) return;
    const absl::StatusOr<YamlNode> status = parse_json(message);
    if (status.ok() && json_text(*status, "status") != "Success") note(json_text(*status, "message"));
  }

  void note(std::string_view text) {
    const std::string line = server_text(text);
    const absl::MutexLock lock(&mutex_);
    if (!line.empty() && problem_.size() < kMaxProblem)
      str_append(&problem_, problem_.empty() ? "" : "; ", line);
  }

  // False: nobody reads any more.
  bool pass_output() {
    while (!output_.empty()) {
      const ssize_t sent = ::send(inner_.get(), output_.data(), output_.size(), MSG_NOSIGNAL);
      if (sent < 0) return errno == EAGAIN || errno == EINTR;
      output_.erase(0, static_cast<size_t>(sent));
    }
    return true;
  }

  // False: nobody writes any more.
  bool take_input() {
    char buffer[16 << 10];
    buffer[0] = kInput;
    while (sending_.size() < kMaxHeld) {
      const ssize_t got = ::recv(inner_.get(), buffer + 1, sizeof(buffer) - 1, 0);
      if (got < 0) return errno == EAGAIN || errno == EINTR;
      if (got == 0) return false;
      append_frame(FrameKind::kBinary, {buffer, static_cast<size_t>(got) + 1}, mask(), sending_);
    }
    return true;
  }

  // Unpredictable for what stands between, as RFC 6455 demands.
  uint32_t mask() { return random_(); }

  Connection connection_;
  UniqueFd outer_, inner_;
  FrameReader frames_;
  // From the server, for it, and for who reads.
  std::string received_, sending_, output_;
  std::random_device random_;
  std::thread thread_;
  mutable absl::Mutex mutex_;
  std::string problem_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<PodStream>> PodStream::open(const ApiAccess& access,
                                                           const PodCommand& command) {
  auto stream = std::make_unique<PodStreamOverCurl>();
  RETURN_IF_ERROR(stream->start(access, command));
  return stream;
}

}  // namespace weft::control_plane
