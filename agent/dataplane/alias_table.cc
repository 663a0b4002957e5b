// See alias_table.h. Called by the service table; no state.
#include "agent/dataplane/alias_table.h"

namespace weft::agent {
namespace {

// A share is up to 2^32 times a number of rows, and 32 bits more are needed for a moment.
__extension__ using Wide = unsigned __int128;

}  // namespace

std::vector<AliasRow> build_alias_table(const std::vector<WeightedChoice>& choices) {
  std::vector<AliasRow> rows;
  std::vector<uint64_t> share;  // weight times rows: a row holds exactly `total`
  uint64_t total = 0;
  for (const WeightedChoice& choice : choices) {
    if (choice.weight == 0) continue;
    rows.push_back({.threshold = UINT32_MAX, .self = choice.value, .alias = choice.value});
    share.push_back(choice.weight);
    total += choice.weight;
  }
  std::vector<uint32_t> small, large;
  for (uint32_t i = 0; i < rows.size(); ++i) {
    share[i] *= rows.size();
    (share[i] < total ? small : large).push_back(i);
  }
  while (!small.empty() && !large.empty()) {
    const uint32_t poor = small.back();
    const uint32_t rich = large.back();
    small.pop_back();
    rows[poor].threshold = static_cast<uint32_t>((static_cast<Wide>(share[poor]) << 32) / total);
    rows[poor].alias = rows[rich].self;
    share[rich] -= total - share[poor];
    if (share[rich] >= total) continue;
    large.pop_back();
    small.push_back(rich);
  }
  return rows;
}

}  // namespace weft::agent
