// PathIndex of path_index.h.
#include "userspace-proxy/route/path_index.h"

#include <algorithm>
#include <tuple>

namespace weft::proxy {

void PathIndex::add(uint32_t entry, const StringMatcher* uri) {
  using Kind = StringMatcher::Kind;
  if (uri != nullptr && !uri->ignore_case && uri->kind == Kind::kExact) {
    exact_[uri->text].push_back(entry);
  } else if (uri != nullptr && !uri->ignore_case &&
             (uri->kind == Kind::kPrefix || uri->kind == Kind::kSegments)) {
    prefixes_.push_back(Prefix{.text = uri->text, .entries = {entry}, .parent = kNoNode});
  } else {
    others_.push_back(entry);
  }
}

void PathIndex::finish() {
  finished_ = true;
  std::sort(prefixes_.begin(), prefixes_.end(), [](const Prefix& a, const Prefix& b) {
    return std::tie(a.text, a.entries.front()) < std::tie(b.text, b.entries.front());
  });
  std::vector<Prefix> merged;
  merged.reserve(prefixes_.size());
  for (Prefix& prefix : prefixes_) {
    if (!merged.empty() && merged.back().text == prefix.text) {
      merged.back().entries.push_back(prefix.entries.front());
      continue;
    }
    uint32_t parent = merged.empty() ? kNoNode : static_cast<uint32_t>(merged.size() - 1);
    while (parent != kNoNode && !prefix.text.starts_with(merged[parent].text)) parent = merged[parent].parent;
    prefix.parent = parent;
    merged.push_back(std::move(prefix));
  }
  prefixes_ = std::move(merged);
}

uint32_t PathIndex::last_below(std::string_view path) const {
  const auto after =
      std::upper_bound(prefixes_.begin(), prefixes_.end(), path,
                       [](std::string_view p, const Prefix& prefix) { return p < prefix.text; });
  return after == prefixes_.begin() ? kNoNode : static_cast<uint32_t>(after - prefixes_.begin() - 1);
}

}  // namespace weft::proxy
