// See control_api.h.
#include "tools/bench/control_api.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>

#include "absl/strings/str_format.h"
#include "base/strings.h"

namespace weft::bench {
namespace {

constexpr size_t kMaxHead = 64 << 10;
// The token "t-7" is that of the agent of node-7.
std::string review(const std::string& request) {
  constexpr std::string_view kToken = "\"token\":\"t-";
  const size_t at = request.find(kToken);
  const std::string number = at == std::string::npos ? "0" : request.substr(at + kToken.size());
  return str_cat(
      R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","status":{"authenticated":true,)",
      R"("audiences":["weft-control"],"user":{"username":"system:serviceaccount:weft-system:weft-agent",)",
      R"("extra":{"authentication.kubernetes.io/node-name":["node-)", number.substr(0, number.find('"')),
      R"("]}}}})");
}

bool send_all(int socket, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = ::send(socket, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    text.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool send_chunk(int socket, std::string_view text) {
  return send_all(socket, absl::StrFormat("%x\r\n", text.size())) && send_all(socket, text) &&
         send_all(socket, "\r\n");
}

std::string event(std::string_view type, std::string_view object) {
  return str_cat("{\"type\":\"", type, "\",\"object\":", object, "}\n");
}

std::string key_of(const ApiObject& object) { return str_cat(object.ns, "/", object.name); }

// What nobody reads: who wrote which field.
const std::string& unread_metadata() {
  static const std::string text = [] {
    std::string fields;
    for (int i = 0; i < 40; ++i)
      str_append(&fields, i == 0 ? "" : ",", "\"f:field-with-a-long-name-", i, "\":{}");
    return str_cat(",\"managedFields\":[{\"manager\":\"kubelet\",\"fieldsV1\":{", fields, "}}]");
  }();
  return text;
}

// The bytes of a body that the head announces.
size_t length_of(std::string_view head) {
  constexpr std::string_view kName = "content-length: ";
  std::string lower(head);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  const size_t at = lower.find(kName);
  return at == std::string::npos ? 0 : static_cast<size_t>(std::atol(lower.c_str() + at + kName.size()));
}

}  // namespace

StandInApi::StandInApi() {
  listener_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* const raw = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener_.get(), raw, length) != 0 || ::listen(listener_.get(), 128) != 0 ||
      ::getsockname(listener_.get(), raw, &length) != 0)
    return;
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_all(); });
}

StandInApi::~StandInApi() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const int socket : sockets_) ::shutdown(socket, SHUT_RDWR);
  }
  changed_.notify_all();
  ::shutdown(listener_.get(), SHUT_RDWR);
  if (acceptor_.joinable()) acceptor_.join();
  for (std::thread& connection : connections_) connection.join();
}

std::string StandInApi::url() const { return port_ == 0 ? "" : str_cat("http://127.0.0.1:", port_); }

std::string StandInApi::kubeconfig() const {
  return str_cat("current-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n",
                 "clusters: [{name: c, cluster: {server: '", url(),
                 "'}}]\nusers: [{name: u, user: {token: t}}]\n");
}

absl::StatusOr<std::string> StandInApi::token(uint32_t node) { return str_cat("t-", node); }

std::string StandInApi::object_text(const ApiObject& object) {
  std::string out = str_cat("{\"metadata\":{\"resourceVersion\":\"", ++version_, "\",\"name\":\"",
                            object.name, "\",\"uid\":\"u-", object.name, "\"");
  if (!object.ns.empty()) str_append(&out, ",\"namespace\":\"", object.ns, "\"");
  if (object.ending) str_append(&out, ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"");
  str_append(&out, object.metadata, unread_metadata(), "}", object.fields);
  if (!object.status.empty()) str_append(&out, ",\"status\":", object.status);
  return out + "}";
}

void StandInApi::put(ApiObject object, Begun begun) {
  if (begun) begun();
  const std::lock_guard lock(mutex_);
  Collection& to = collections_[object.collection];
  std::string& text = to.objects[key_of(object)];
  const bool known = !text.empty();
  text = object_text(object);
  to.events.push_back(event(known ? "MODIFIED" : "ADDED", text));
  changed_.notify_all();
}

void StandInApi::remove(const ApiObject& object, Begun begun) {
  if (begun) begun();
  const std::lock_guard lock(mutex_);
  Collection& from = collections_[object.collection];
  const auto found = from.objects.find(key_of(object));
  if (found == from.objects.end()) return;
  from.events.push_back(event("DELETED", found->second));
  from.objects.erase(found);
  changed_.notify_all();
}

void StandInApi::accept_all() {
  while (true) {
    const int socket = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    const std::lock_guard lock(mutex_);
    if (socket < 0 || stopping_) {
      if (socket >= 0) ::close(socket);
      return;
    }
    const int on = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    sockets_.push_back(socket);
    connections_.emplace_back([this, socket] { serve(socket); });
  }
}

void StandInApi::serve(int socket) {
  std::string input;
  char buffer[4096];
  while (true) {
    const size_t end = input.find("\r\n\r\n");
    const size_t whole = end == std::string::npos ? 0 : end + 4 + length_of(input.substr(0, end));
    if (end == std::string::npos || input.size() < whole) {
      const ssize_t got = ::recv(socket, buffer, sizeof(buffer), 0);
      if (got <= 0 || input.size() > kMaxHead) break;
      input.append(buffer, static_cast<size_t>(got));
      continue;
    }
    const std::string line = input.substr(0, input.find("\r\n"));
    const std::string answer = review(input.substr(end, whole - end));
    input.erase(0, whole);
    const size_t path = line.find(' ') + 1;
    if (line.starts_with("POST")) {
      const std::string head =
          str_cat("HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: ", answer.size(),
                  "\r\n\r\n");
      if (!send_all(socket, head) || !send_all(socket, answer)) break;
      continue;
    }
    watch(socket, line.substr(path, line.find_first_of("? ", path) - path));
    break;
  }
  const std::lock_guard lock(mutex_);
  std::erase(sockets_, socket);
  ::close(socket);
}

// Every watch begins with the whole list: no run is long enough for a second one.
void StandInApi::watch(int socket, const std::string& path) {
  if (!send_all(socket,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"))
    return;
  std::unique_lock lock(mutex_);
  Collection& collection = collections_[path];
  std::string lines;
  for (const auto& [key, object] : collection.objects) lines += event("ADDED", object);
  lines += event("BOOKMARK", str_cat("{\"metadata\":{\"resourceVersion\":\"", version_,
                                     "\",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}"));
  size_t sent = collection.events.size();
  while (true) {
    lock.unlock();
    const bool ok = lines.empty() || send_chunk(socket, lines);
    lines.clear();
    lock.lock();
    if (!ok || stopping_) return;
    changed_.wait(lock, [&] { return stopping_ || sent < collection.events.size(); });
    for (; sent < collection.events.size(); ++sent) lines += collection.events[sent];
  }
}

}  // namespace weft::bench
