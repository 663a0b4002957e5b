// libFuzzer target: any bytes from whoever reaches the webhook's port, as the bytes of a connection and as a
// review. Whatever the input, there is no crash, a request reads the same in one piece and byte by byte, and
// an answer is JSON that allows or says why not.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "control-plane/admission/post_request.h"
#include "control-plane/admission/review.h"

namespace {

using weft::control_plane::PostRequest;

void check_review(std::string_view body) {
  const auto answer = weft::control_plane::review(body);
  if (!answer.ok()) return;
  const nlohmann::json read = nlohmann::json::parse(answer->body, nullptr, false);
  if (!read.is_object() || read["response"]["allowed"] != answer->allowed) abort();
  if (!answer->allowed && read["response"]["status"]["message"].get<std::string>().empty()) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  constexpr size_t kMaxBody = 2048;
  PostRequest whole(kMaxBody), pieces(kMaxBody);
  whole.feed(bytes);
  // What comes after the request is refused in one piece only: then the second has read the first byte of it.
  for (size_t i = 0; i < size; ++i) pieces.feed(bytes.substr(i, 1));
  if (whole.state() != pieces.state() || whole.status() != pieces.status()) abort();
  if (whole.state() == PostRequest::State::kRefused && (whole.status() < 400 || whole.status() > 505))
    abort();
  if (whole.state() == PostRequest::State::kDone) {
    if (whole.body() != pieces.body() || whole.path() != pieces.path() || whole.body().size() > kMaxBody)
      abort();
    check_review(whole.body());
  }
  check_review(bytes);
  return 0;
}
