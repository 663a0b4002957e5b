// --http and --header, as the questions to the agent have them. Used by the commands that ask about a
// request.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "base/strings.h"
#include "tools/weft/commands.h"

namespace weft::cli {

// A workload's name with the namespace of -n, where it has none.
inline std::string in_namespace(const Flags& flags, const std::string& name) {
  return flags.ns.empty() || name.find('/') != std::string::npos ? name : str_cat(flags.ns, "/", name);
}

// `Request` has a method, a target and headers; they stay empty without --http.
template <typename Request>
absl::Status read_http(const Flags& flags, Request* request) {
  if (!flags.headers.empty() && flags.http.empty())
    return absl::InvalidArgumentError("--header needs --http; next: add --http 'GET /'");
  if (!flags.http.empty()) {
    const size_t space = flags.http.find(' ');
    request->set_method(space == std::string::npos ? "GET" : flags.http.substr(0, space));
    request->set_target(space == std::string::npos ? flags.http : flags.http.substr(space + 1));
  }
  for (const std::string& header : flags.headers) {
    const size_t colon = header.find(':');
    if (colon == std::string::npos || colon == 0)
      return absl::InvalidArgumentError(
          str_cat("\"", header, "\" is no header; next: write it as --header name:value"));
    auto* out = request->add_headers();
    out->set_name(absl::AsciiStrToLower(header.substr(0, colon)));
    const size_t begin = header.find_first_not_of(' ', colon + 1);
    out->set_value(begin == std::string::npos ? "" : header.substr(begin));
  }
  return absl::OkStatus();
}

}  // namespace weft::cli
