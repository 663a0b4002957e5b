// A weft-control of a test, on loopback and with its files in a folder of the test's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/harness/process.h"

namespace weft::harness {

// Its authority is in `folder`/ca and its certificate is for 127.0.0.1. `source`: the arguments that say
// where objects come from and who may ask. Returns when it serves on `port`; an error has what it wrote.
absl::StatusOr<std::unique_ptr<Process>> start_weft_control(const std::string& folder, uint16_t port,
                                                            const std::vector<std::string>& source);

}  // namespace weft::harness
