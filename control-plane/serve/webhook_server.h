// The validating webhook's port: HTTPS for the API server alone, one POST on a connection, a thread for each
// connection and a bound on their number, on the bytes and on the time of each. What goes wrong here lets the
// object pass: the API server's failurePolicy is Ignore (docs/kubernetes.md). Anybody may connect; what they
// send changes nothing and tells them nothing but what `weft analyze` would.
#pragma once

#include <openssl/ssl.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "base/address.h"
#include "base/fd.h"

namespace weft::control_plane {

class WebhookServer {
 public:
  static constexpr char kPath[] = "/validate";

  struct Options {
    SocketAddress address;
    // PEM; read again when they change.
    std::string certificate_file;
    std::string key_file;
    size_t max_connections = 16;
    // For a whole connection, its handshake included.
    std::chrono::milliseconds timeout{5'000};
  };
  struct Counts {
    uint64_t allowed = 0;
    uint64_t denied = 0;
    uint64_t failed = 0;  // no review: a broken connection or request
  };

  // Errors: the address cannot be listened on, no certificate.
  static absl::StatusOr<std::unique_ptr<WebhookServer>> start(Options options);
  // Ends connections and joins.
  ~WebhookServer();

  SocketAddress address() const { return address_; }
  Counts counts() const;

 private:
  using ContextPtr = std::shared_ptr<SSL_CTX>;
  // What tells whether a file is another one.
  struct Stamp {
    uint64_t device = 0, inode = 0;
    int64_t seconds = 0, nanoseconds = 0;
    bool operator==(const Stamp&) const = default;
  };

  explicit WebhookServer(Options options) : options_(std::move(options)) {}
  absl::Status load();
  static Stamp stamp_of(const std::string& file);
  void run();
  void begin(UniqueFd socket);
  void reap();
  void serve(UniqueFd socket, const ContextPtr& context);

  const Options options_;
  SocketAddress address_;
  UniqueFd listener_;
  UniqueFd stop_;  // readable from the end on

  // The accepting thread.
  ContextPtr context_;
  Stamp loaded_;
  uint64_t next_ = 0;

  mutable std::mutex mutex_;
  Counts counts_;
  std::map<uint64_t, std::thread> running_;
  std::vector<std::thread> done_;
  std::condition_variable ended_;
  std::thread thread_;  // last
};

}  // namespace weft::control_plane
