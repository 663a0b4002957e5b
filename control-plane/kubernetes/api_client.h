// Requests to one API server over libcurl: HTTP/2 where the server has it, all on one connection and one
// thread, answers handed on as their bytes come. Knows nothing of Kubernetes' objects. Logs nothing; its
// errors hold no secrets. The process ignores SIGPIPE.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "control-plane/kubernetes/api_access.h"

namespace weft::control_plane {

struct ApiRequest {
  std::string path;  // with its query, "/api/v1/pods?limit=500"
  // The whole request at most; 0: no limit.
  std::chrono::milliseconds deadline{0};
  // No byte for so long ends it; whole seconds; 0: no limit.
  std::chrono::seconds silence{0};
  // Empty: GET, or POST with a body, whose type is `content_type`.
  std::string method = {};
  std::string body = {};
  std::string content_type = "application/json";
};

// How a request ended.
struct ApiEnd {
  long status = 0;      // of HTTP; 0: no answer
  std::string message;  // why it is no success, for people; empty when it is one
  std::optional<std::chrono::seconds> retry_after;

  bool ok() const { return message.empty(); }
};

// Who asked. Called inside ApiClient::turn() only; may start and cancel requests in ended().
class ApiReader {
 public:
  virtual ~ApiReader() = default;
  // The head of a successful answer is there.
  virtual void accepted() = 0;
  // Bytes of a successful answer. False: enough, end the request.
  virtual bool body(std::string_view bytes) = 0;
  virtual void ended(const ApiEnd& end) = 0;
};

class ApiClient {
 public:
  using Id = uint64_t;
  struct Options {
    std::chrono::milliseconds connect_timeout{10'000};
    // A peer that acknowledges nothing for so long is gone, and so are its watches.
    std::chrono::milliseconds dead_peer{30'000};
  };

  static absl::StatusOr<std::unique_ptr<ApiClient>> create(ApiAccess access, Options options);
  virtual ~ApiClient() = default;

  // `reader` stays valid until ended() or cancel(). What is wrong is told by ended(), in the next turn.
  virtual Id start(const ApiRequest& request, ApiReader* reader) = 0;
  // Its reader hears nothing more. Not inside body().
  virtual void cancel(Id id) = 0;
  // Waits for bytes, at most `wait`, and calls readers.
  virtual void turn(std::chrono::milliseconds wait) = 0;
  // Ends a turn() that waits. Any thread.
  virtual void wake() = 0;
};

}  // namespace weft::control_plane
