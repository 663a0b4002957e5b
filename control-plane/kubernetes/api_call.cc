// See api_call.h.
#include "control-plane/kubernetes/api_call.h"

#include <utility>

#include "base/strings.h"

namespace weft::control_plane {
namespace {

constexpr std::chrono::milliseconds kTurn(200);

class Waiting final : public ApiReader {
 public:
  void accepted() override {}
  bool body(std::string_view bytes) override {
    if (answer.body.size() + bytes.size() > kMaxCallBytes) {
      over_ = true;
      return false;
    }
    answer.body.append(bytes);
    return true;
  }
  void ended(const ApiEnd& end) override {
    answer.end = end;
    if (over_) answer.end.message = str_cat("the answer is over ", kMaxCallBytes, " bytes");
    done = true;
  }

  ApiAnswer answer;
  bool done = false;

 private:
  bool over_ = false;
};

}  // namespace

ApiAnswer call(ApiClient& client, std::string path, std::string post) {
  Waiting waiting;
  client.start({.path = std::move(path), .deadline = kCallDeadline, .body = std::move(post)}, &waiting);
  // The client ends each request at its deadline.
  while (!waiting.done) client.turn(kTurn);
  return std::move(waiting.answer);
}

}  // namespace weft::control_plane
