// Answers the CNI plugin on <run-dir>/cni.sock: reads a request, asks the reconciler, and sends the answer
// when there is one. Only root may connect. One thread for all connections; what a peer can hold is bounded
// in number, size and time.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/cni/message.h"
#include "base/clock.h"
#include "base/fd.h"

namespace weft::agent {

class CniServer {
 public:
  // Any thread, once for each request.
  using Reply = std::function<void(CniAnswer)>;
  // On the server's thread; must not wait.
  using Handler = std::function<void(CniRequest, Reply)>;

  static absl::StatusOr<std::unique_ptr<CniServer>> start(const std::string& path, Handler handler);
  // Replies that come later go nowhere.
  ~CniServer();

 private:
  // Shared with replies, which may outlive the server.
  struct Answers {
    std::mutex mutex;
    std::vector<std::pair<uint64_t, CniAnswer>> ready;
    UniqueFd wake;
  };
  struct Connection {
    UniqueFd socket;
    bool asked = false;
    MonotonicNs ends = 0;
  };

  CniServer(UniqueFd listener, Handler handler)
      : listener_(std::move(listener)), handler_(std::move(handler)) {}
  void run();
  void accept_one();
  // False: the connection is over.
  bool read_request(uint64_t id, Connection& connection);
  void send_answers();

  UniqueFd listener_;
  Handler handler_;
  UniqueFd stop_;
  std::shared_ptr<Answers> answers_ = std::make_shared<Answers>();
  std::unordered_map<uint64_t, Connection> connections_;
  uint64_t next_id_ = 1;
  std::thread thread_;
};

}  // namespace weft::agent
