// Fuzz target of what a machine that nobody knows yet sends to join: tokens, names of nodes, and gRPC's name
// of its address. Looks for a token that is taken and does not read back as itself, and for a name that is
// taken and would be another path in a folder.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdlib>
#include <string>

#include "control-plane/join/guess_limit.h"
#include "control-plane/join/join_token.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace weft::control_plane;
  FuzzedDataProvider data(bytes, size);
  const int kind = data.ConsumeIntegralInRange(0, 2);
  const std::string text = data.ConsumeRemainingBytesAsString();
  if (kind == 0) {
    const auto token = parse_join_token(text);
    if (!token.ok()) return 0;
    const auto again = parse_join_token(to_string(*token));
    require(again.ok() && again->id == token->id && again->secret == token->secret);
    require(token->id.find_first_not_of("0123456789abcdef") == std::string::npos && token->id.size() == 16);
    require(has_digest(*token, digest_of(*token)));
  } else if (kind == 1) {
    if (!is_node_name(text)) return 0;
    require(text.find('/') == std::string::npos && text != "." && text != ".." && text.size() <= 253);
  } else {
    require(guesser_of(text).size() <= text.size() + 32);
  }
  return 0;
}
