// Where the objects of a cluster are put, and as much of a Kubernetes API server as weft-control sees, over
// HTTP/1.1 on loopback: streamed lists, watches and reviews of tokens. It stands in where what is measured is
// weft-control: an event is on the wire as soon as an object is put. (control_real_api.h has a real one.)
// What the server does when it is away, slow or refuses is the tests' (fake_api_server.h), which keeps what
// it was asked and is no program's: nothing of it would be left here. A thread for each connection; any
// thread.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "base/fd.h"

namespace weft::bench {

struct ApiObject {
  const char* collection = nullptr;  // "/api/v1/pods"
  std::string ns, name;              // `ns` empty: of no namespace
  std::string metadata;              // more fields of it, each behind a comma
  std::string fields;                // others than metadata and status, each behind a comma
  std::string status;                // its value; empty: none
  bool ending = false;               // it is told to end, and is not gone
};

class ObjectApi {
 public:
  // When the clock of a change starts: when its event is on the wire or about to be.
  using Begun = std::function<void()>;

  virtual ~ObjectApi() = default;
  // An object that is new or another. Of one name in the order of the calls.
  virtual void put(ApiObject object, Begun begun = {}) = 0;
  virtual void remove(const ApiObject& object, Begun begun = {}) = 0;
  // Until everything that was put is there; the first error.
  virtual absl::Status flush() = 0;
  // weft-control's, as a kubeconfig.
  virtual std::string kubeconfig() const = 0;
  // Of the agent of a node.
  virtual absl::StatusOr<std::string> token(uint32_t node) = 0;
};

class StandInApi final : public ObjectApi {
 public:
  // Listens on a free port of loopback; url() is empty when it cannot.
  StandInApi();
  ~StandInApi() override;

  std::string url() const;
  void put(ApiObject object, Begun begun) override;
  void remove(const ApiObject& object, Begun begun) override;
  absl::Status flush() override { return absl::OkStatus(); }
  std::string kubeconfig() const override;
  absl::StatusOr<std::string> token(uint32_t node) override;

 private:
  struct Collection {
    std::map<std::string, std::string> objects;  // whole, by key
    std::vector<std::string> events;             // lines
  };

  void accept_all();
  void serve(int socket);
  void watch(int socket, const std::string& path);
  std::string object_text(const ApiObject& object);

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
