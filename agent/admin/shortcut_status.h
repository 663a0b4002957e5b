// What `weft status` says of the shortcut between pods and the proxy (bpf/shortcut.bpf.c). Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/pods/pod_table.h"
#include "proto/weft/admin/v1/admin.pb.h"

namespace weft::agent {

// `problem`: of Dataplane::shortcut_problem(); `stats`: of Dataplane::stats().
admin::v1::Shortcut shortcut_status(const PodTable& pods, const std::string& problem,
                                    const std::vector<uint64_t>& stats);

}  // namespace weft::agent
