// See shortcut_status.h.
#include "agent/admin/shortcut_status.h"

#include "bpf/abi/stats.h"

namespace weft::agent {
namespace {

// Why a send of such a connection went by TCP, under the names of weft_bpf_events_total.
constexpr struct {
  weft_stat stat;
  const char* label;
} kByTcp[] = {
    {WEFT_STAT_SHORTCUT_FULL, "shortcut_full"},     {WEFT_STAT_SHORTCUT_TCP, "shortcut_tcp"},
    {WEFT_STAT_SHORTCUT_LEFT_TCP, "shortcut_left"}, {WEFT_STAT_SHORTCUT_MIXED, "shortcut_mixed"},
    {WEFT_STAT_SHORTCUT_GONE, "shortcut_gone"},     {WEFT_STAT_SHORTCUT_NO_ROOM, "shortcut_no_room"},
};

}  // namespace

admin::v1::Shortcut shortcut_status(const PodTable& pods, const std::string& problem,
                                    const std::vector<uint64_t>& stats) {
  admin::v1::Shortcut out;
  uint32_t asking = 0;
  for (const auto& [key, pod] : pods.pods())
    asking += pod.state == Pod::State::kCaptured && pod.shortcut ? 1 : 0;
  out.set_pods(asking);
  out.set_problem(problem);
  if (stats.size() < WEFT_STAT_COUNT) return out;
  out.set_connections(stats[WEFT_STAT_SHORTCUT_JOINED]);
  out.set_messages(stats[WEFT_STAT_SHORTCUT_MESSAGE]);
  out.set_bytes(stats[WEFT_STAT_SHORTCUT_BYTES]);
  for (const auto& [stat, label] : kByTcp) {
    if (stats[stat] != 0) (*out.mutable_by_tcp())[label] = stats[stat];
  }
  return out;
}

}  // namespace weft::agent
