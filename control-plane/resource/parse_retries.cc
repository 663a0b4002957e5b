// See parse_retries.h. Semantics: Istio's HTTPRetry; retryOn holds the words of Envoy's retry policies.
#include "control-plane/resource/parse_retries.h"

#include <array>

#include "absl/strings/ascii.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "control-plane/resource/measure_fields.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;
using mesh::v1::RetryPolicy;

constexpr std::array<Names, 5> kRetriesRead = {"attempts", "perTryTimeout", "retryOn", "backoff",
                                               "retryIgnorePreviousHosts"};
constexpr std::array<Names, 1> kRetriesKnown = {"retryRemoteLocalities"};
constexpr int64_t kMaxAttempts = 100;
constexpr uint32_t kDefaultIntervalMs = 25;

struct Row {
  Names word;
  RetryPolicy::On on;
};

constexpr std::array<Row, 14> kWords = {{
    {"5xx", RetryPolicy::ON_5XX},
    {"gateway-error", RetryPolicy::ON_GATEWAY_ERROR},
    {"reset", RetryPolicy::ON_RESET},
    {"reset-before-request", RetryPolicy::ON_RESET_BEFORE_REQUEST},
    {"connect-failure", RetryPolicy::ON_CONNECT_FAILURE},
    {"refused-stream", RetryPolicy::ON_REFUSED_STREAM},
    {"retriable-4xx", RetryPolicy::ON_RETRIABLE_4XX},
    {"retriable-status-codes", RetryPolicy::ON_STATUS_CODES},
    {"envoy-ratelimited", RetryPolicy::ON_RATE_LIMITED},
    {"cancelled", RetryPolicy::ON_CANCELLED},
    {"deadline-exceeded", RetryPolicy::ON_DEADLINE_EXCEEDED},
    {"internal", RetryPolicy::ON_INTERNAL},
    {"resource-exhausted", RetryPolicy::ON_RESOURCE_EXHAUSTED},
    {"unavailable", RetryPolicy::ON_UNAVAILABLE},
}};

// Istio's, for a retryOn that says nothing.
constexpr Names kDefaultWords = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";

void add_once(RetryPolicy::On on, RetryPolicy& out) {
  for (const int known : out.on()) {
    if (known == on) return;
  }
  out.add_on(on);
}

void take_word(const FieldReader& retries, Names word, RetryPolicy& out) {
  if (const auto code = parse_integer<uint32_t>(word)) {
    if (*code < 100 || *code > 599) {
      retries.error_at("retryOn", kValueRejected, str_cat(*code, " is no status"),
                       "use codes from 100 to 599");
      return;
    }
    out.add_status_codes(*code);
    return add_once(RetryPolicy::ON_STATUS_CODES, out);
  }
  std::vector<Names> known;
  for (const Row& row : kWords) {
    if (row.word == word) return add_once(row.on, out);
    known.push_back(row.word);
  }
  const auto guess = nearest(word, known);
  const bool later = word == "retriable-headers" || word == "http3-post-connect-failure";
  retries.error_at(
      "retryOn", later ? kNotSupportedYet : kValueRejected,
      str_cat("\"", word.substr(0, 64), later ? "\" is not supported" : "\" is no retry policy"),
      guess ? str_cat("did you mean \"", *guess, "\"?") : "use 5xx, gateway-error, connect-failure …");
}

void parse_retry_on(const FieldReader& retries, RetryPolicy& out) {
  std::string text = retries.text("retryOn").value_or("");
  if (absl::StripAsciiWhitespace(text).empty()) text = std::string(kDefaultWords);
  Names rest = text;
  while (!rest.empty()) {
    const size_t comma = std::min(rest.find(','), rest.size());
    const absl::string_view word = absl::StripAsciiWhitespace(to_absl(rest.substr(0, comma)));
    if (!word.empty()) take_word(retries, Names(word.data(), word.size()), out);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
}

}  // namespace

void parse_retries(const FieldReader& http, mesh::v1::HttpRoute& route) {
  if (const auto retries = http.child("retries")) parse_retry_policy(*retries, *route.mutable_retries());
}

void parse_retry_policy(const FieldReader& retries, RetryPolicy& out) {
  if (!retries.expect_map({.read = kRetriesRead, .known = kRetriesKnown})) return;
  if (!retries.has("attempts"))
    retries.error_at("attempts", kFieldMissing, "the field is required",
                     "give a number; 0 switches retries off");
  out.set_attempts(static_cast<uint32_t>(retries.integer("attempts", 0, kMaxAttempts).value_or(0)));
  out.set_per_try_timeout_ms(duration_ms(retries, "perTryTimeout", 1).value_or(0));
  out.set_base_interval_ms(duration_ms(retries, "backoff", 1).value_or(kDefaultIntervalMs));
  out.set_repeat_hosts(!retries.boolean("retryIgnorePreviousHosts").value_or(true));
  parse_retry_on(retries, out);
}

}  // namespace weft::control_plane
