// The two macros of control code; every layer adds one noun with `annotate`. The data path uses closed enums
// instead.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/strings.h"

namespace weft {

// "attach mesh_connect4: <status>", keeping the code.
inline absl::Status annotate(std::string_view noun, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(), str_cat(noun, ": ", status.message()));
}

// The status of a failed system call: "<what>: <strerror>". `error` is an errno value, positive.
inline absl::Status errno_status(std::string_view what, int error) {
  absl::StatusCode code = absl::StatusCode::kInternal;
  if (error == ENOENT || error == ESRCH) code = absl::StatusCode::kNotFound;
  if (error == EPERM || error == EACCES) code = absl::StatusCode::kPermissionDenied;
  if (error == EEXIST) code = absl::StatusCode::kAlreadyExists;
  if (error == ECONNREFUSED || error == EAGAIN) code = absl::StatusCode::kUnavailable;
  return absl::Status(code, str_cat(what, ": ", std::strerror(error)));
}

}  // namespace weft

#define WEFT_CONCAT_INNER(a, b) a##b
#define WEFT_CONCAT(a, b) WEFT_CONCAT_INNER(a, b)

#define RETURN_IF_ERROR(expression)                                   \
  do {                                                                \
    if (absl::Status weft_status = (expression); !weft_status.ok()) { \
      return weft_status;                                             \
    }                                                                 \
  } while (false)

#define ASSIGN_OR_RETURN(declaration, expression) \
  ASSIGN_OR_RETURN_INNER(WEFT_CONCAT(weft_status_or_, __LINE__), declaration, expression)
#define ASSIGN_OR_RETURN_INNER(holder, declaration, expression) \
  auto holder = (expression);                                   \
  if (!holder.ok()) return holder.status();                     \
  declaration = std::move(holder).value()
