// Facts of grpc.h.
#include "userspace-proxy/http/grpc.h"

#include <algorithm>
#include <charconv>

#include "base/strings.h"

namespace weft::proxy {
namespace {

constexpr std::string_view kContentType = "application/grpc";
constexpr size_t kMaxDigits = 8;
constexpr MonotonicNs kLongest = 31ull * 24 * 3600 * kNsPerSecond;

// Nanoseconds of a unit; 0 for what is none.
MonotonicNs unit_of(char letter) {
  switch (letter) {
    case 'H':
      return 3600 * kNsPerSecond;
    case 'M':
      return 60 * kNsPerSecond;
    case 'S':
      return kNsPerSecond;
    case 'm':
      return kNsPerMs;
    case 'u':
      return 1000;
    case 'n':
      return 1;
    default:
      return 0;
  }
}

}  // namespace

bool is_grpc_call(const RequestHead& head) {
  if (head.method != "POST") return false;
  const auto type = head.find("content-type");
  if (!type || !type->starts_with(kContentType)) return false;
  return type->size() == kContentType.size() ||
         std::string_view("+; \t").find((*type)[kContentType.size()]) != std::string_view::npos;
}

std::optional<MonotonicNs> parse_grpc_timeout(std::string_view text) {
  if (text.size() < 2 || text.size() > kMaxDigits + 1) return std::nullopt;
  const MonotonicNs unit = unit_of(text.back());
  const auto number = parse_integer<uint64_t>(text.substr(0, text.size() - 1));
  // Eight digits of hours are 3.6e20 ns: compared before they are multiplied.
  if (unit == 0 || !number || *number == 0 || *number > kLongest / unit) return std::nullopt;
  return *number * unit;
}

std::string_view write_grpc_timeout(MonotonicNs timeout, GrpcTimeoutText* out) {
  constexpr uint64_t kMost = 99'999'999;
  const uint64_t ms = std::max<uint64_t>(timeout / kNsPerMs, 1);
  const bool seconds = ms > kMost;
  char* end = std::to_chars(out->data(), out->data() + out->size() - 1, seconds ? ms / 1000 : ms).ptr;
  *end++ = seconds ? 'S' : 'm';
  return std::string_view(out->data(), static_cast<size_t>(end - out->data()));
}

std::string_view grpc_status_of_http(uint16_t status) {
  switch (status) {
    case 400:
    case 431:
      return "13";  // INTERNAL
    case 401:
      return "16";  // UNAUTHENTICATED
    case 403:
      return "7";  // PERMISSION_DENIED
    case 404:
    case 501:
      return "12";  // UNIMPLEMENTED
    case 429:
    case 502:
    case 503:
    case 504:
      return "14";  // UNAVAILABLE
    default:
      return "2";  // UNKNOWN
  }
}

uint16_t http_of_grpc(uint8_t status) {
  constexpr std::array<uint16_t, 17> kHttp = {200, 499, 500, 400, 504, 404, 409, 403, 429,
                                              400, 409, 400, 501, 500, 503, 500, 401};
  return status < kHttp.size() ? kHttp[status] : 500;
}

std::string_view grpc_status_text(uint8_t status) {
  constexpr std::array<std::string_view, 17> kText = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                                      "9", "10", "11", "12", "13", "14", "15", "16"};
  return kText[std::min<size_t>(status, kText.size() - 1)];
}

}  // namespace weft::proxy
