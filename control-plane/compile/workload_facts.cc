// See workload_facts.h.
#include "control-plane/compile/workload_facts.h"

#include <algorithm>
#include <utility>

namespace weft::control_plane {

const WorkloadFacts::Rows& WorkloadFacts::of(const ByText& map, const std::string& key) {
  static const Rows kNone;
  const auto found = map.find(key);
  return found == map.end() ? kNone : found->second;
}

void WorkloadFacts::note_before(const Row& row) {
  for (const std::string& key : row.services) {
    had_endpoints_.try_emplace(key, members_.contains(key));
    if (row.tunnels) had_tunnels_.try_emplace(key, tunnels_.contains(key));
  }
  if (row.unit->kind == Unit::Kind::kEntry) had_entry_.try_emplace(*row.unit, entries_.contains(*row.unit));
}

void WorkloadFacts::learn(const Row* row) {
  note_before(*row);
  touched_[row] = true;
  all_.insert(row);
  by_ns_[row->ns].insert(row);
  for (const std::string& key : row->services) {
    members_[key].insert(row);
    if (row->tunnels) ++tunnels_[key];
  }
  if (row->unit->kind == Unit::Kind::kEntry) entries_.insert(*row->unit);
}

void WorkloadFacts::forget(const Row* row) {
  note_before(*row);
  touched_[row] = false;
  all_.erase(row);
  const auto leave = [row](ByText& map, const std::string& key) {
    const auto found = map.find(key);
    found->second.erase(row);
    if (found->second.empty()) map.erase(found);
  };
  leave(by_ns_, row->ns);
  for (const std::string& key : row->services) {
    leave(members_, key);
    if (!row->tunnels) continue;
    const auto count = tunnels_.find(key);
    if (--count->second == 0) tunnels_.erase(count);
  }
  if (row->unit->kind == Unit::Kind::kEntry) entries_.erase(*row->unit);
}

void WorkloadFacts::settle() {
  flipped_.clear();
  for (const auto& [key, had] : std::exchange(had_endpoints_, {})) {
    if (had != members_.contains(key)) flipped_.insert(key);
  }
  for (const auto& [key, had] : std::exchange(had_tunnels_, {}))
    news_ = news_ || had != tunnels_.contains(key);
  for (const auto& [unit, had] : std::exchange(had_entry_, {}))
    news_ = news_ || had != entries_.contains(unit);
  for (auto& [question, shower] : answers_) {
    if (shower != nullptr) {
      const auto touched = touched_.find(shower);
      if (touched == touched_.end() || (touched->second && shows(*shower, question))) continue;
      shower = search(question);
      news_ = news_ || shower == nullptr;
      continue;
    }
    for (const auto& [row, there] : touched_) {
      if (!there || !shows(*row, question)) continue;
      shower = row;
      news_ = true;
      break;
    }
  }
  // Rows of it may be gone.
  before_.clear();
  // Not clear(), which keeps the memory of the first step.
  touched_ = {};
}

void WorkloadFacts::begin_asking() {
  before_ = std::exchange(answers_, {});
  news_ = false;
}

bool WorkloadFacts::ask(Question question) const {
  const auto known = answers_.find(question);
  if (known != answers_.end()) return known->second != nullptr;
  auto earlier = before_.extract(question);
  if (!earlier.empty()) return answers_.insert(std::move(earlier)).position->second != nullptr;
  const Row* const shower = search(question);
  answers_.emplace(std::move(question), shower);
  return shower != nullptr;
}

bool WorkloadFacts::shows(const Row& row, const Question& question) const {
  if (!question.ns.empty() && row.ns != question.ns) return false;
  if (!question.labels.empty() && !selects(question.labels, *row.labels)) return false;
  return question.service.empty() ||
         std::find(row.services.begin(), row.services.end(), question.service) != row.services.end();
}

const WorkloadFacts::Row* WorkloadFacts::search(const Question& question) const {
  const Rows& rows = !question.service.empty() ? endpoints(question.service)
                     : question.ns.empty()     ? all_
                                               : in_namespace(question.ns);
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const Row* row) { return shows(*row, question); });
  return found == rows.end() ? nullptr : *found;
}

bool WorkloadFacts::has_entry(const ObjectMeta& entry) const {
  return entries_.contains({Unit::Kind::kEntry, entry.ns, entry.name});
}

std::set<std::string> WorkloadFacts::tunnel_hosts() const {
  std::set<std::string> out;
  for (const auto& [key, count] : tunnels_) out.insert(key.substr(key.find('/') + 1));
  return out;
}

}  // namespace weft::control_plane
