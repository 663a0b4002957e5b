// See weft_control.h.
#include "tests/harness/weft_control.h"

#include "base/status_macros.h"
#include "base/strings.h"
#include "tests/harness/wait.h"
#include "tests/harness/workloads.h"

namespace weft::harness {

absl::StatusOr<std::unique_ptr<Process>> start_weft_control(const std::string& folder, uint16_t port,
                                                            const std::vector<std::string>& source) {
  Spawn spawn;
  spawn.argv = {binary("weft-control"), "--listen", str_cat("127.0.0.1:", port), "--ca-dir", folder + "/ca",
                "--run-dir", folder + "/run", "--tls-name", "127.0.0.1", "--metrics-address", "127.0.0.1:0",
                "--health-address", "127.0.0.1:0",
                // Every agent of the harness serves Gateways.
                "--gateway-node", "*"};
  spawn.argv.insert(spawn.argv.end(), source.begin(), source.end());
  ASSIGN_OR_RETURN(std::unique_ptr<Process> out, Process::start(spawn));
  const auto serves = [&out] { return out->output().find(" control_started ") != std::string::npos; };
  wait_until(milliseconds(30'000), [&] { return serves() || !out->running(); });
  if (serves() && out->running()) return out;
  return absl::UnavailableError(str_cat("weft-control does not serve; it wrote:\n", out->output()));
}

}  // namespace weft::harness
