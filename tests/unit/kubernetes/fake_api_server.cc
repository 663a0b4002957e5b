// See fake_api_server.h.
#include "tests/unit/kubernetes/fake_api_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "base/strings.h"

namespace weft::control_plane::test {
namespace {

constexpr std::chrono::seconds kLimit(20);

std::string unescaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out.push_back(static_cast<char>(std::strtol(std::string(text.substr(i + 1, 2)).c_str(), nullptr, 16)));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

FakeApiServer::Request parse_head(const std::string& head) {
  FakeApiServer::Request out;
  const size_t begin = head.find(' ') + 1;
  out.method = head.substr(0, begin - 1);
  std::string_view target = std::string_view(head).substr(begin, head.find(' ', begin) - begin);
  const size_t mark = std::min(target.find('?'), target.size());
  out.path = target.substr(0, mark);
  target.remove_prefix(std::min(mark + 1, target.size()));
  while (!target.empty()) {
    const size_t end = std::min(target.find('&'), target.size());
    const std::string_view pair = target.substr(0, end);
    const size_t equal = std::min(pair.find('='), pair.size());
    out.query[std::string(pair.substr(0, equal))] = unescaped(pair.substr(std::min(equal + 1, pair.size())));
    target.remove_prefix(std::min(end + 1, target.size()));
  }
  const size_t header = head.find("\r\nAuthorization: ");
  if (header != std::string::npos) {
    const size_t value = header + 17;
    out.authorization = head.substr(value, head.find("\r\n", value) - value);
  }
  return out;
}

size_t body_length(const std::string& head) {
  const size_t header = head.find("\r\nContent-Length: ");
  return header == std::string::npos ? 0 : std::strtoul(head.c_str() + header + 18, nullptr, 10);
}

bool send_all(int socket, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = ::send(socket, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    text.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool send_reply(int socket, const FakeApiServer::Reply& reply) {
  std::string head =
      str_cat("HTTP/1.1 ", reply.status, " x\r\nContent-Type: application/json\r\n", reply.headers);
  str_append(&head, "Content-Length: ", reply.body.size() + (reply.hang ? 1 : 0), "\r\n\r\n");
  // In one segment: two would wait for an acknowledgement in between.
  return send_all(socket, head + reply.body);
}

bool send_chunk(int socket, const std::string& text) {
  char size[32];
  std::snprintf(size, sizeof(size), "%zx\r\n", text.size());
  return send_all(socket, str_cat(size, text, "\r\n"));
}

FakeApiServer::Reply refusal(int status, const std::string& message) {
  return {.status = status, .body = Json{{"kind", "Status"}, {"code", status}, {"message", message}}.dump()};
}

std::string event_line(const char* type, const Json& object) {
  return Json{{"type", type}, {"object", object}}.dump() + "\n";
}

Json bookmark_object(int version) { return {{"metadata", {{"resourceVersion", std::to_string(version)}}}}; }

std::string key_of(const Json& object) {
  const Json& meta = object.at("metadata");
  return str_cat(meta.value("namespace", ""), "/", meta.value("name", ""));
}

}  // namespace

FakeApiServer::FakeApiServer() {
  for (const char* path :
       {"/api/v1/namespaces", "/api/v1/nodes", "/api/v1/pods", "/api/v1/services",
        "/apis/discovery.k8s.io/v1/endpointslices", "/api/v1/namespaces/istio-system/configmaps",
        "/api/v1/namespaces/weft-system/configmaps"}) {
    collections_[path];
  }
  start();
}

FakeApiServer::~FakeApiServer() { stop(); }

std::string FakeApiServer::url() const { return str_cat("http://127.0.0.1:", port_); }

void FakeApiServer::start() {
  listener_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int one = 1;
  ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port_);
  if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) std::abort();
  ::listen(listener_.get(), 64);
  socklen_t size = sizeof(address);
  ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
  running_ = true;
  acceptor_ = std::thread([this, fd = listener_.get()] { accept_loop(fd); });
}

void FakeApiServer::stop() {
  {
    const std::lock_guard lock(mutex_);
    if (!running_) return;
    running_ = false;
    for (const int socket : sockets_) ::shutdown(socket, SHUT_RDWR);
  }
  changed_.notify_all();
  ::shutdown(listener_.get(), SHUT_RDWR);
  acceptor_.join();
  listener_.reset();
  for (std::thread& connection : connections_) connection.join();
  connections_.clear();
  sockets_.clear();
}

void FakeApiServer::accept_loop(int listener) {
  while (true) {
    const int socket = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) return;
    const std::lock_guard lock(mutex_);
    if (!running_) {
      ::close(socket);
      return;
    }
    ++accepted_;
    changed_.notify_all();
    if (hangs_up_) {
      ::close(socket);
      continue;
    }
    sockets_.push_back(socket);
    connections_.emplace_back([this, socket] { serve(socket); });
  }
}

void FakeApiServer::serve(int socket) {
  std::string input;
  char buffer[4096];
  while (true) {
    const size_t end = input.find("\r\n\r\n");
    if (end == std::string::npos) {
      const ssize_t got = ::recv(socket, buffer, sizeof(buffer), 0);
      if (got <= 0) break;
      input.append(buffer, static_cast<size_t>(got));
      continue;
    }
    Request request = parse_head(input.substr(0, end + 2));
    const size_t length = body_length(input.substr(0, end + 2));
    if (input.size() < end + 4 + length) {
      const ssize_t got = ::recv(socket, buffer, sizeof(buffer), 0);
      if (got <= 0) break;
      input.append(buffer, static_cast<size_t>(got));
      continue;
    }
    request.body = input.substr(end + 4, length);
    input.erase(0, end + 4 + length);
    if (!answer(socket, request)) break;
  }
  const std::lock_guard lock(mutex_);
  std::erase(sockets_, socket);
  ::close(socket);
}

bool FakeApiServer::answer(int socket, const Request& request) {
  Script script;
  uint64_t epoch = 0;
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
    epoch = epoch_;
    script = script_;
    changed_.notify_all();
  }
  {
    // Not for longer than the server runs.
    std::unique_lock lock(mutex_);
    const bool known = collections_.contains(request.path);
    changed_.wait_for(lock, known ? latency_ : latency_.zero(), [this] { return !running_; });
  }
  if (script) {
    if (const std::optional<Reply> reply = script(request)) {
      if (!send_reply(socket, *reply)) return false;
      if (!reply->hang) return true;
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this, epoch] { return !running_ || epoch_ != epoch; });
      return false;
    }
  }
  {
    const std::lock_guard lock(mutex_);
    if (!collections_.contains(request.path)) return send_reply(socket, refusal(404, "404 page not found"));
  }
  return request.is_watch() ? watch(socket, request, epoch) : list(socket, request);
}

bool FakeApiServer::list(int socket, const Request& request) {
  std::unique_lock lock(mutex_);
  const Collection& collection = collections_[request.path];
  const size_t first = static_cast<size_t>(std::atoi(request.value("continue").c_str()));
  const size_t limit = page_ != 0 ? page_ : 500;
  Json items = Json::array();
  size_t at = 0;
  for (const auto& [key, object] : collection.objects) {
    if (at >= first && at < first + limit) {
      Json item = object;
      // As a server lists core kinds.
      item.erase("kind");
      item.erase("apiVersion");
      items.push_back(item);
    }
    ++at;
  }
  Json meta{{"resourceVersion", std::to_string(version_)}};
  if (first + limit < collection.objects.size()) meta["continue"] = std::to_string(first + limit);
  const Json body{{"kind", "List"}, {"metadata", meta}, {"items", items}};
  lock.unlock();
  return send_reply(socket, {.body = body.dump()});
}

bool FakeApiServer::watch(int socket, const Request& request, uint64_t epoch) {
  std::unique_lock lock(mutex_);
  const bool streams = request.streams_list();
  if (streams && !streams_lists_) {
    lock.unlock();
    return send_reply(socket, refusal(422, "sendInitialEvents is forbidden for watch"));
  }
  std::string first;
  int version = std::atoi(request.value("resourceVersion").c_str());
  const bool forgotten = !streams && version < compacted_;
  if (streams) {
    version = version_;
    for (const auto& [key, object] : collections_[request.path].objects) first += event_line("ADDED", object);
    Json end = bookmark_object(version);
    end["metadata"]["annotations"] = {{"k8s.io/initial-events-end", "true"}};
    first += event_line("BOOKMARK", end);
  } else if (forgotten) {
    first = event_line("ERROR", {{"kind", "Status"}, {"code", 410}, {"message", "too old resource version"}});
  }
  if (!send_all(socket,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"))
    return false;
  if (!first.empty() && !send_chunk(socket, first)) return false;
  if (forgotten) return send_all(socket, "0\r\n\r\n");
  return follow(socket, request.path, version, epoch, lock);
}

bool FakeApiServer::follow(int socket, const std::string& path, int version, uint64_t epoch,
                           std::unique_lock<std::mutex>& lock) {
  size_t sent = 0;
  while (running_ && epoch_ == epoch && collections_.contains(path)) {
    const std::vector<Event>& events = collections_[path].events;
    std::string lines;
    for (; sent < events.size(); ++sent) {
      if (events[sent].version > version) lines += events[sent].line;
    }
    if (!lines.empty()) {
      lock.unlock();
      const bool ok = send_chunk(socket, lines);
      lock.lock();
      if (!ok) return false;
      continue;
    }
    changed_.wait(lock);
  }
  return running_ && send_all(socket, "0\r\n\r\n");
}

void FakeApiServer::install(const std::string& collection) {
  const std::lock_guard lock(mutex_);
  collections_[collection];
}

void FakeApiServer::uninstall(const std::string& collection) {
  const std::lock_guard lock(mutex_);
  collections_.erase(collection);
  ++epoch_;
  changed_.notify_all();
}

int FakeApiServer::put(const std::string& collection, Json object) {
  const std::lock_guard lock(mutex_);
  object["metadata"]["resourceVersion"] = std::to_string(++version_);
  Collection& to = collections_[collection];
  const std::string key = key_of(object);
  const bool known = to.objects.contains(key);
  to.events.push_back({version_, event_line(known ? "MODIFIED" : "ADDED", object)});
  to.objects[key] = std::move(object);
  changed_.notify_all();
  return version_;
}

void FakeApiServer::remove(const std::string& collection, const std::string& ns, const std::string& name) {
  const std::lock_guard lock(mutex_);
  Collection& from = collections_[collection];
  Json object = from.objects.at(str_cat(ns, "/", name));
  from.objects.erase(str_cat(ns, "/", name));
  object["metadata"]["resourceVersion"] = std::to_string(++version_);
  from.events.push_back({version_, event_line("DELETED", object)});
  changed_.notify_all();
}

int FakeApiServer::bookmark(const std::string& collection) {
  const std::lock_guard lock(mutex_);
  collections_[collection].events.push_back({++version_, event_line("BOOKMARK", bookmark_object(version_))});
  changed_.notify_all();
  return version_;
}

void FakeApiServer::send_raw(const std::string& collection, const std::string& line) {
  const std::lock_guard lock(mutex_);
  collections_[collection].events.push_back({++version_, line + "\n"});
  changed_.notify_all();
}

void FakeApiServer::compact() {
  const std::lock_guard lock(mutex_);
  compacted_ = ++version_;
  for (auto& [path, collection] : collections_) collection.events.clear();
  ++epoch_;
  changed_.notify_all();
}

void FakeApiServer::end_watches() {
  const std::lock_guard lock(mutex_);
  ++epoch_;
  changed_.notify_all();
}

void FakeApiServer::set_script(Script script) {
  const std::lock_guard lock(mutex_);
  script_ = std::move(script);
}

void FakeApiServer::set_latency(std::chrono::milliseconds latency) {
  const std::lock_guard lock(mutex_);
  latency_ = latency;
}

void FakeApiServer::hang_up(bool does) {
  const std::lock_guard lock(mutex_);
  hangs_up_ = does;
  if (!does) return;
  for (const int socket : sockets_) ::shutdown(socket, SHUT_RDWR);
  ++epoch_;
  changed_.notify_all();
}

size_t FakeApiServer::connections() const {
  const std::lock_guard lock(mutex_);
  return accepted_;
}

bool FakeApiServer::wait_for_connections(size_t many) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kLimit, [&] { return accepted_ >= many; });
}

void FakeApiServer::set_streams_lists(bool does) {
  const std::lock_guard lock(mutex_);
  streams_lists_ = does;
}

void FakeApiServer::set_page(size_t objects) {
  const std::lock_guard lock(mutex_);
  page_ = objects;
}

std::vector<FakeApiServer::Request> FakeApiServer::requests(const std::string& collection) const {
  const std::lock_guard lock(mutex_);
  std::vector<Request> out;
  for (const Request& request : requests_) {
    if (request.path == collection) out.push_back(request);
  }
  return out;
}

size_t FakeApiServer::count(const std::string& collection,
                            const std::function<bool(const Request&)>& matches) const {
  const std::vector<Request> all = requests(collection);
  return static_cast<size_t>(std::count_if(all.begin(), all.end(), matches));
}

bool FakeApiServer::wait_for(const std::string& collection, size_t many,
                             const std::function<bool(const Request&)>& matches) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kLimit, [&] {
    size_t found = 0;
    for (const Request& request : requests_) {
      if (request.path == collection && matches(request)) ++found;
    }
    return found >= many;
  });
}

}  // namespace weft::control_plane::test
