// What a service table reads back from the kernel: the rows of a former agent, and how the rows of this one
// are. Called when the dataplane opens, and for `weft diff`. See service_table.h.
#include <netinet/in.h>

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "agent/dataplane/service_rows.h"
#include "agent/dataplane/service_table.h"
#include "base/strings.h"

namespace weft::agent {
namespace {

std::string text_of(const ServiceKey& key) {
  return str_cat(key.address.to_string(), key.protocol == IPPROTO_UDP ? "/udp" : "/tcp");
}

}  // namespace

void ServiceTable::adopt() {
  const std::vector<weft_svc_key> keys = svc_.keys(WEFT_MAX_SERVICES);
  for (const weft_svc_key& key : keys) {
    const auto row = svc_.find(key);
    if (!row || holds(from_key(key))) continue;
    next_tag_ = std::max(next_tag_, row->tag + 1);
    const weft_svc pass = pass_row(from_key(key), row->id);
    if (std::memcmp(&*row, &pass, sizeof(pass)) == 0)
      passes_.put(from_key(key), row->id);
    else
      known_.put(from_key(key), read_table(*row));
  }
  // Backends that no table names may be remembered by clients: their generation must not come again.
  if (!keys.empty()) {
    for (uint32_t index = 0; index < WEFT_MAX_BACKENDS; ++index) {
      const auto row = backend_.find(index);
      if (!row || row->generation == 0) break;  // rows are handed out from the bottom
      next_generation_ = std::max(next_generation_, row->generation + 1);
    }
  }
  publish_counts();
}

ServiceTable::Table ServiceTable::read_table(const weft_svc& row) {
  Table table{.row = row};
  if (row.count != 0) picks_.reserve(row.base, row.count);
  std::vector<uint32_t> indices;
  for (uint32_t i = 0; i < row.count; ++i) {
    const auto pick = pick_.find(row.base + i);
    if (!pick || pick->tag != row.tag) continue;
    indices.push_back(pick->self);
    indices.push_back(pick->alias);
  }
  std::sort(indices.begin(), indices.end());
  indices.erase(std::unique(indices.begin(), indices.end()), indices.end());
  for (const uint32_t index : indices) {
    const auto row_of = backend_.find(index);
    if (!row_of || !backends_.reserve(index, 1)) continue;
    next_generation_ = std::max(next_generation_, row_of->generation + 1);
    // Weight 0 is no weight that a table holds, so the first apply writes the service anew.
    Backend backend{.id = row_of->id, .index = index, .generation = row_of->generation};
    std::memcpy(backend.address.ip.bytes.data(), row_of->ip, sizeof(row_of->ip));
    backend.address.port = static_cast<uint16_t>(row_of->port);
    table.backends.push_back(backend);
  }
  return table;
}

void ServiceTable::audit_row(const ServiceKey& key, const weft_svc& row, DriftRow* out) const {
  const auto found = svc_.find(to_key(key));
  if (!found)
    out->note(text_of(key), row.id, "missing in the kernel");
  else if (std::memcmp(&*found, &row, sizeof(row)) != 0)
    out->note(text_of(key), row.id, "another row in the kernel");
}

// The service's row is right; so must be the rows that it leads to.
void ServiceTable::audit_table(const ServiceKey& key, const Table& table, DriftRow* out) const {
  for (const Backend& backend : table.backends) {
    const weft_backend wanted = backend_row(backend);
    const auto found = backend_.find(backend.index);
    if (!found || std::memcmp(&*found, &wanted, sizeof(wanted)) != 0) {
      return out->note(text_of(key), table.row.id,
                       str_cat("another row in the kernel for its backend ", backend.address.to_string()));
    }
  }
  for (uint32_t i = 0; i < table.row.count; ++i) {
    const auto pick = pick_.find(table.row.base + i);
    if (pick && pick->tag == table.row.tag) continue;
    return out->note(text_of(key), table.row.id, "its table of backends in the kernel was overwritten");
  }
}

DriftRow ServiceTable::drift(const std::vector<ServiceEntry>& wanted) const {
  DriftRow out{.scope = "services", .desired = wanted.size(), .agent = known_.size() + passes_.size()};
  absl::flat_hash_set<ServiceKey> asked;
  for (const ServiceEntry& entry : wanted) {
    asked.insert(entry.key);
    if (!holds(entry.key))
      out.note(text_of(entry.key), entry.id, "not written by the agent");
    else if (!is_current(entry))
      out.note(text_of(entry.key), entry.id, "written otherwise by the agent");
  }
  for (const auto& [key, table] : known_) {
    const uint64_t before = out.drift;
    if (!asked.contains(key))
      out.note(text_of(key), table.row.id, "written by the agent, but nobody asks for it");
    audit_row(key, table.row, &out);
    if (out.drift == before) audit_table(key, table, &out);
  }
  for (const auto& [key, id] : passes_) {
    if (!asked.contains(key)) out.note(text_of(key), id, "written by the agent, but nobody asks for it");
    audit_row(key, pass_row(key, id), &out);
  }
  for (const weft_svc_key& key : svc_.keys(WEFT_MAX_SERVICES)) {
    ++out.kernel;
    const auto row = svc_.find(key);
    if (row && !holds(from_key(key))) out.note(text_of(from_key(key)), row->id, "only in the kernel");
  }
  return out;
}

}  // namespace weft::agent
