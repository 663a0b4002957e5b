// Fuzz target of what providers answer (policy/check_message.h): any bytes are an answer or a failure with a
// reason, and what is taken never puts anything into a head that would make it another message.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "userspace-proxy/http/field_rules.h"
#include "userspace-proxy/policy/check_message.h"

namespace weft::proxy {
namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void check_edits(const std::vector<FieldEdit>& edits) {
  require(edits.size() <= kMaxCheckEdits);
  for (const FieldEdit& edit : edits) {
    require(is_token(edit.name) && !is_connection_field(edit.name));
    require(edit.name != "host" && edit.name != "content-length");
    require(edit.value.find_first_of(std::string("\r\n\0", 3)) == std::string::npos);
  }
  std::vector<Header> headers = {{"host", "shop"}, {"content-length", "3"}, {"x-a", "1"}};
  apply_to_request(edits, &headers);
  size_t framing = 0;
  for (const Header& header : headers)
    framing += equals_ignore_case(header.name, "host") || equals_ignore_case(header.name, "content-length");
  require(framing == 2);
}

void check(const CheckAnswer& answer) {
  require(answer.kind != CheckAnswer::Kind::kFailed || !answer.problem.empty());
  require(answer.status >= 200 && answer.status <= 599);
  check_edits(answer.request);
  check_edits(answer.response);
}

}  // namespace
}  // namespace weft::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  const bool framed = data.ConsumeBool();
  std::string message = data.ConsumeRemainingBytesAsString();
  if (framed) {
    std::string prefix(5, '\0');
    prefix[3] = static_cast<char>(message.size() >> 8);
    prefix[4] = static_cast<char>(message.size());
    message.insert(0, prefix);
  }
  weft::proxy::check(weft::proxy::read_grpc_answer(message));
  return 0;
}
