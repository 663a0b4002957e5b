// See api_call.h.
#include "control-plane/kubernetes/api_call.h"

#include <utility>

#include "base/strings.h"

namespace weft::control_plane {
namespace {

constexpr std::chrono::milliseconds kTurn(200);

class Waiting final : public ApiReader {
 public:
  explicit Waiting(size_t most_bytes) : most_bytes_(most_bytes) {}
  void accepted() override {}
  bool body(std::string_view bytes) override {
    answer.too_long = answer.body.size() + bytes.size() > most_bytes_;
    if (!answer.too_long) answer.body.append(bytes);
    return !answer.too_long;
  }
  void ended(const ApiEnd& end) override {
    answer.end = end;
    if (answer.too_long) answer.end.message = str_cat("the answer is over ", most_bytes_, " bytes");
    done = true;
  }

  ApiAnswer answer;
  bool done = false;

 private:
  const size_t most_bytes_;
};

}  // namespace

ApiAnswer call(ApiClient& client, const ApiRequest& request, size_t most_bytes) {
  Waiting waiting(most_bytes);
  client.start(request, &waiting);
  // The client ends each request at its deadline.
  while (!waiting.done) client.turn(kTurn);
  return std::move(waiting.answer);
}

ApiAnswer call(ApiClient& client, std::string path, std::string post) {
  return call(client, {.path = std::move(path), .deadline = kCallDeadline, .body = std::move(post)},
              kMaxCallBytes);
}

}  // namespace weft::control_plane
