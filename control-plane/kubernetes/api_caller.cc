// See api_caller.h.
#include "control-plane/kubernetes/api_caller.h"

#include <optional>

#include "base/status_macros.h"

namespace weft::control_plane {
namespace {

class WholeAnswer final : public ApiReader {
 public:
  explicit WholeAnswer(size_t limit) : limit_(limit) {}

  void accepted() override {}
  bool body(std::string_view bytes) override {
    too_long_ = text_.size() + bytes.size() > limit_;
    if (!too_long_) text_.append(bytes);
    return !too_long_;
  }
  void ended(const ApiEnd& end) override { end_ = end; }

  bool done() const { return end_.has_value(); }
  absl::StatusOr<std::string> result() {
    if (too_long_) return absl::ResourceExhaustedError("its answer is too long");
    if (end_->ok()) return std::move(text_);
    return absl::Status(code_of(end_->status), end_->message);
  }

 private:
  static absl::StatusCode code_of(long status) {
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

  const size_t limit_;
  std::string text_;
  bool too_long_ = false;
  std::optional<ApiEnd> end_;
};

constexpr std::chrono::milliseconds kTurn{1000};

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
  WholeAnswer answer(options_.max_answer);
  (*client)->start(request, &answer);
  while (!answer.done()) (*client)->turn(kTurn);
  give(*std::move(client));
  return answer.result();
}

}  // namespace weft::control_plane
