// Single requests to an API server, answered before they return: what is asked for a client that waits, or
// written. Any thread; a few calls run at once, further ones wait for one of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "control-plane/kubernetes/api_client.h"

namespace weft::control_plane {

class ApiCaller {
 public:
  struct Options {
    size_t at_once = 8;
    // Of an answer; more is an error.
    size_t max_answer = 3 * 1024 * 1024;
  };
  explicit ApiCaller(ApiAccess access) : ApiCaller(std::move(access), Options()) {}
  ApiCaller(ApiAccess access, Options options) : access_(std::move(access)), options_(options) {}

  // The body of a successful answer. Errors: what the server says, by its HTTP status (401, 403:
  // PermissionDenied, 404: NotFound, 409: AlreadyExists, 400, 422: InvalidArgument), and Unavailable for
  // every other and when it is not reached. `request.deadline` bounds the call.
  absl::StatusOr<std::string> call(const ApiRequest& request);

 private:
  absl::StatusOr<std::unique_ptr<ApiClient>> take();
  void give(std::unique_ptr<ApiClient> client);
  bool has_room() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return busy_ < options_.at_once; }

  const ApiAccess access_;
  const Options options_;
  absl::Mutex mutex_;
  size_t busy_ ABSL_GUARDED_BY(mutex_) = 0;
  // With their connections.
  std::vector<std::unique_ptr<ApiClient>> idle_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace weft::control_plane
