// As much of a Kubernetes API server as weft-control sees, over HTTP/1.1 on loopback: streamed lists, watches
// and reviews of tokens. It stands in where what is measured is weft-control: an event is on the wire as soon
// as an object is put. What the server does when it is away, slow or refuses is the tests'
// (fake_api_server.h), which keeps what it was asked and is no program's: nothing of it would be left here. A
// thread for each connection; any thread.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/fd.h"

namespace weft::bench {

class StandInApi {
 public:
  // Listens on a free port of loopback; url() is empty when it cannot.
  StandInApi();
  ~StandInApi();

  std::string url() const;
  // An object of the collection ("/api/v1/pods") that is new or another. `body`: its JSON from behind
  // {"metadata":{"resourceVersion":"…",
  void put(const std::string& collection, const std::string& key, std::string body);
  void remove(const std::string& collection, const std::string& key);

 private:
  struct Collection {
    std::map<std::string, std::string> objects;  // whole, by key
    std::vector<std::string> events;             // lines
  };

  void accept_all();
  void serve(int socket);
  void watch(int socket, const std::string& path);
  std::string object_text(std::string_view body);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Collection> collections_;
  uint64_t version_ = 1;
  bool stopping_ = false;
  UniqueFd listener_;
  uint16_t port_ = 0;
  std::vector<int> sockets_;
  std::vector<std::thread> connections_;
  std::thread acceptor_;
};

}  // namespace weft::bench
