// Fuzz target of the ClientHello reader: any bytes a client may begin with. Looks for a server name that is
// no host name, and for an answer that changes when more bytes arrive.
#include <cstdlib>
#include <string>
#include <string_view>

#include "userspace-proxy/http/client_hello.h"

namespace weft::proxy {
namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void check_name(std::string_view name) {
  require(name.size() <= 255 && !name.starts_with('.') && !name.ends_with('.'));
  for (const char c : name) {
    require((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_');
  }
}

// What was decided from a part stays decided.
void check_parts(std::string_view bytes, HelloStatus whole, const std::string& name) {
  const size_t step = bytes.size() / 16 + 1;
  for (size_t size = 0; size < bytes.size(); size += step) {
    std::string part_name;
    const HelloStatus part = read_client_hello(bytes.substr(0, size), &part_name);
    require(part == HelloStatus::kNeedMore || part == whole);
    if (part == HelloStatus::kComplete) require(part_name == name);
  }
}

}  // namespace
}  // namespace weft::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weft::proxy;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::string name;
  const HelloStatus status = read_client_hello(bytes, &name);
  if (status == HelloStatus::kComplete) check_name(name);
  check_parts(bytes, status, name);
  return 0;
}
