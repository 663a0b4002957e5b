// See api_caller.h.
#include "control-plane/kubernetes/api_caller.h"

#include <utility>

#include "control-plane/kubernetes/api_call.h"

namespace weft::control_plane {
namespace {

absl::StatusCode code_of(long status) {
  switch (status) {
    case 400:
    case 422:
      return absl::StatusCode::kInvalidArgument;
    case 401:
    case 403:
      return absl::StatusCode::kPermissionDenied;
    case 404:
      return absl::StatusCode::kNotFound;
    case 409:
      return absl::StatusCode::kAlreadyExists;
    default:
      return absl::StatusCode::kUnavailable;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<ApiClient>> ApiCaller::take() {
  {
    const absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &ApiCaller::has_room));
    ++busy_;
    if (!idle_.empty()) {
      std::unique_ptr<ApiClient> out = std::move(idle_.back());
      idle_.pop_back();
      return out;
    }
  }
  return ApiClient::create(access_, {});
}

void ApiCaller::give(std::unique_ptr<ApiClient> client) {
  const absl::MutexLock lock(&mutex_);
  --busy_;
  if (client != nullptr) idle_.push_back(std::move(client));
}

absl::StatusOr<std::string> ApiCaller::call(const ApiRequest& request) {
  absl::StatusOr<std::unique_ptr<ApiClient>> client = take();
  if (!client.ok()) {
    give(nullptr);
    return client.status();
  }
  ApiAnswer answer = control_plane::call(**client, request, options_.max_answer);
  give(*std::move(client));
  if (answer.too_long) return absl::ResourceExhaustedError("its answer is too long");
  if (!answer.ok()) return absl::Status(code_of(answer.end.status), answer.end.message);
  return std::move(answer.body);
}

}  // namespace weft::control_plane
