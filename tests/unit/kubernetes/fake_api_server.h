// As much of a Kubernetes API server as a client that lists and watches sees, over HTTP/1.1 on loopback:
// lists in pages, watches, streamed lists, bookmarks, compaction, and refusals that a test asks for. It
// records every request. A thread for each connection; every method may be called from the test's thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"

namespace weft::control_plane::test {

using Json = nlohmann::json;

class FakeApiServer {
 public:
  struct Request {
    std::string path;  // without the query
    std::map<std::string, std::string> query;
    std::string authorization;
    std::string method = "GET";
    std::string body = {};

    bool is_watch() const { return query.contains("watch"); }
    bool streams_list() const { return query.contains("sendInitialEvents"); }
    std::string value(const std::string& name) const {
      const auto found = query.find(name);
      return found == query.end() ? "" : found->second;
    }
  };
  struct Reply {
    int status = 200;
    std::string body;
    std::string headers = {};  // whole lines
    // Say nothing more and keep the connection open, until the server stops or end_watches().
    bool hang = false;
  };
  // What a request gets instead of its proper answer; nullopt: that answer.
  using Script = std::function<std::optional<Reply>(const Request&)>;

  FakeApiServer();
  ~FakeApiServer();

  std::string url() const;
  // Collections are called by their path, "/api/v1/services". Those of the core kinds are there.
  void install(const std::string& collection);
  void uninstall(const std::string& collection);
  // Gives it a new resourceVersion and tells watchers; the version.
  int put(const std::string& collection, Json object);
  void remove(const std::string& collection, const std::string& ns, const std::string& name);
  // A bookmark with a new version to the watchers of a collection; the version.
  int bookmark(const std::string& collection);
  // A line for the watchers of a collection, whatever it says.
  void send_raw(const std::string& collection, const std::string& line);
  // What is older than now is forgotten: watches from before get 410.
  void compact();
  void end_watches();

  void set_script(Script script);
  void set_streams_lists(bool does);
  void set_page(size_t objects);  // objects in a page, whatever is asked for

  // Each answer about a collection that is there begins so much later.
  void set_latency(std::chrono::milliseconds latency);
  // As a proxy before a server that is away: connections, open ones too, end before anything is read. Unlike
  // with stop() they can be counted.
  void hang_up(bool does);
  // That were accepted since the start.
  size_t connections() const;
  // Until so many were. False: not in time.
  bool wait_for_connections(size_t many);

  // Nobody listens any more; the port stays ours.
  void stop();
  void start();

  std::vector<Request> requests(const std::string& collection) const;
  size_t count(const std::string& collection, const std::function<bool(const Request&)>& matches) const;
  // Until that many requests for the collection match. False: not in time.
  bool wait_for(const std::string& collection, size_t many,
                const std::function<bool(const Request&)>& matches);

 private:
  struct Event {
    int version = 0;
    std::string line;
  };
  struct Collection {
    std::map<std::string, Json> objects;
    std::vector<Event> events;
  };

  void accept_loop(int listener);
  void serve(int socket);
  bool answer(int socket, const Request& request);
  bool list(int socket, const Request& request);
  // `epoch`: of when the request came.
  bool watch(int socket, const Request& request, uint64_t epoch);
  bool follow(int socket, const std::string& path, int version, uint64_t epoch,
              std::unique_lock<std::mutex>& lock);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Collection> collections_;
  std::vector<Request> requests_;
  Script script_;
  int version_ = 100;
  int compacted_ = 0;
  bool streams_lists_ = true;
  size_t page_ = 0;
  std::chrono::milliseconds latency_{0};
  bool hangs_up_ = false;
  size_t accepted_ = 0;
  uint64_t epoch_ = 0;  // of watches
  bool running_ = false;
  uint16_t port_ = 0;
  UniqueFd listener_;
  std::thread acceptor_;
  std::vector<std::thread> connections_;
  std::vector<int> sockets_;
};

}  // namespace weft::control_plane::test
