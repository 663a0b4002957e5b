// See grpc_log.h.
#include "base/grpc_log.h"

#include <grpc/support/log.h>

#include "base/log.h"

namespace weft {
namespace {

void write(gpr_log_func_args* arguments) {
  const log::Level level =
      arguments->severity == GPR_LOG_SEVERITY_ERROR ? log::Level::kWarn : log::Level::kDebug;
  log::write(level, "grpc", {{"message", arguments->message}});
}

}  // namespace

void log_for_grpc() { gpr_set_log_function(write); }

}  // namespace weft
