// See migrate.h.
#include "bpf/user/migrate.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/log.h"
#include "base/status_macros.h"

namespace weft::bpf {
namespace {

// Maps whose values are 64-bit words that the programs only ever add to. A new map of counters belongs here.
constexpr std::array<std::string_view, 3> kSums = {"m_flow", "m_stats", "m_bypass"};
// Rows that programs write at any moment and that mean something only together: a copy would be older than
// what the former programs write until they are replaced.
constexpr std::array<std::string_view, 2> kOfSockets = {"m_socket", "m_shortcut"};

bool holds_sums(std::string_view name) { return std::find(kSums.begin(), kSums.end(), name) != kSums.end(); }

bool is_of_sockets(std::string_view name) {
  return std::find(kOfSockets.begin(), kOfSockets.end(), name) != kOfSockets.end();
}

bool holds_sockets(uint32_t type) { return type == BPF_MAP_TYPE_SOCKMAP || type == BPF_MAP_TYPE_SOCKHASH; }

bool lives_elsewhere(uint32_t type) {
  return type == BPF_MAP_TYPE_SK_STORAGE || type == BPF_MAP_TYPE_RINGBUF ||
         type == BPF_MAP_TYPE_PERF_EVENT_ARRAY;
}

bool has_rows(uint32_t type) {
  for (const uint32_t known :
       {BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_LPM_TRIE,
        BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH, BPF_MAP_TYPE_PERCPU_ARRAY}) {
    if (type == known) return true;
  }
  return false;
}

MapShape declared_shape(const bpf_map* map) {
  return {.type = static_cast<uint32_t>(bpf_map__type(map)),
          .key_size = bpf_map__key_size(map),
          .value_size = bpf_map__value_size(map),
          .max_entries = bpf_map__max_entries(map),
          .flags = bpf_map__map_flags(map)};
}

absl::Status refuse(const std::string& name, const MapShape& from, const MapShape& to, std::string_view why) {
  return absl::FailedPreconditionError(
      str_cat("the pinned map ", name, " cannot be carried over: ", why, " (it is ", from.to_string(),
              "; this version needs ", to.to_string(),
              "). Start the version that made it again, or run `weft-agent cleanup`, which ends capture, and "
              "then this version"));
}

absl::Status pass(const StepGate& gate, std::string_view verb, const std::string& name) {
  return gate ? gate(str_cat(verb, " ", name)) : absl::OkStatus();
}

}  // namespace

absl::StatusOr<Carry> decide_carry(const std::string& name, const MapShape& from, const MapShape& to,
                                   bool has_converter) {
  if (from == to) return Carry::kReuse;
  if (has_converter) return Carry::kConvert;
  if (from.type != to.type)
    return refuse(name, from, to, "its type is another and no converter is registered");
  if (from.key_size != to.key_size)
    return refuse(name, from, to, "its key has another size and no converter is registered");
  if (holds_sockets(from.type)) {
    if (from.value_size != to.value_size)
      return refuse(name, from, to, "a map of sockets cannot change its value");
    return Carry::kReuse;
  }
  if (lives_elsewhere(from.type) || is_of_sockets(name)) return Carry::kEmpty;
  if (!has_rows(from.type)) return refuse(name, from, to, "maps of this type cannot be copied");
  if (!holds_sums(name)) return Carry::kCopy;
  if (from.value_size % 8 != 0 || to.value_size % 8 != 0)
    return refuse(name, from, to, "sums are words of 64 bits");
  return Carry::kSum;
}

int Migration::Change::fresh() const { return bpf_map__fd(map); }

size_t Migration::Change::words() const { return std::min(from.value_size, to.value_size) / 8; }

absl::StatusOr<Migration::Change> Migration::inspect(const std::string& path, ::bpf_map* map,
                                                     const MapConverters& converters) {
  Change change{.name = bpf_map__name(map), .map = map, .to = declared_shape(map)};
  change.old.reset(bpf_obj_get(path.c_str()));
  if (!change.old.valid()) return errno_status(str_cat("open pinned map ", path), errno);
  ASSIGN_OR_RETURN(change.from, shape_of(change.old.get()));
  const auto converter = converters.find(change.name);
  if (converter != converters.end()) change.converter = converter->second;
  ASSIGN_OR_RETURN(change.carry,
                   decide_carry(change.name, change.from, change.to, converter != converters.end()));
  return change;
}

absl::StatusOr<Migration> Migration::plan(const Pins& pins, ::bpf_object* object,
                                          const MapConverters& converters) {
  Migration migration;
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    const std::string path = pins.map(bpf_map__name(map));
    if (bpf_map__is_internal(map) || !bpf_map__autocreate(map) || access(path.c_str(), F_OK) != 0) continue;
    ASSIGN_OR_RETURN(Change change, inspect(path, map, converters));
    if (change.carry != Carry::kReuse) {
      log::info("map_migrates",
                {{"map", change.name}, {"from", change.from.to_string()}, {"to", change.to.to_string()}});
      migration.changes_.push_back(std::move(change));
      continue;
    }
    if (change.from != change.to)
      log::warn("map_keeps_its_size", {{"map", change.name}, {"rows", change.from.max_entries}});
    if (const int error = bpf_map__reuse_fd(map, change.old.get()); error != 0)
      return errno_status(str_cat("reuse pinned map ", path), -error);
  }
  return migration;
}

bool Migration::replaces(std::string_view name) const {
  return std::any_of(changes_.begin(), changes_.end(),
                     [name](const Change& change) { return change.name == name; });
}

absl::Status Migration::copy_change(const Change& change) {
  switch (change.carry) {
    case Carry::kConvert:
      return change.converter(change.old.get(), change.fresh());
    case Carry::kCopy: {
      ASSIGN_OR_RETURN(const uint64_t rows, copy_rows(change.old.get(), change.from, change.fresh(),
                                                      change.to, CopyMode::kReplace));
      log::info("map_copied", {{"map", change.name}, {"rows", rows}});
      return absl::OkStatus();
    }
    case Carry::kSum:
      // Its program is loaded now, so that a kernel that refuses it does so before anything was changed.
      return SumAdder::create(change.fresh(), change.to, change.words()).status();
    case Carry::kEmpty:
      log::warn("map_starts_empty", {{"map", change.name}});
      return absl::OkStatus();
    case Carry::kReuse:
      return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Status Migration::copy(const StepGate& gate) {
  for (const Change& change : changes_) {
    RETURN_IF_ERROR(pass(gate, "copy", change.name));
    RETURN_IF_ERROR(annotate(str_cat("copy the pinned map ", change.name), copy_change(change)));
  }
  return absl::OkStatus();
}

absl::Status Migration::copy_again(const Change& change) {
  const uint32_t type = change.from.type;
  const bool by_programs = type == BPF_MAP_TYPE_LRU_HASH || type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
  const bool by_processes = (change.from.flags & BPF_F_MMAPABLE) != 0;
  if (!by_programs && !by_processes) return absl::OkStatus();
  return copy_rows(change.old.get(), change.from, change.fresh(), change.to,
                   by_programs ? CopyMode::kMissing : CopyMode::kReplace)
      .status();
}

absl::Status Migration::sum_change(Change& change) {
  ASSIGN_OR_RETURN(const SumAdder adder, SumAdder::create(change.fresh(), change.to, change.words()));
  ASSIGN_OR_RETURN(const Sums sums, read_sums(change.old.get(), change.from, change.words()));
  ASSIGN_OR_RETURN(const uint64_t lost, adder.add(sums, change.added));
  if (lost != 0) log::warn("counters_lost", {{"map", change.name}, {"rows", lost}});
  return absl::OkStatus();
}

absl::Status Migration::add_sums(const StepGate& gate) {
  for (Change& change : changes_) {
    if (change.carry == Carry::kCopy)
      RETURN_IF_ERROR(annotate(str_cat("copy ", change.name, " again"), copy_again(change)));
    if (change.carry != Carry::kSum) continue;
    RETURN_IF_ERROR(pass(gate, "add", change.name));
    RETURN_IF_ERROR(annotate(str_cat("add up ", change.name), sum_change(change)));
  }
  return absl::OkStatus();
}

absl::Status Migration::give_back() {
  for (const Change& change : changes_) {
    if (change.carry != Carry::kSum || change.fresh() < 0) continue;
    ASSIGN_OR_RETURN(const Sums total, read_sums(change.fresh(), change.to, change.words()));
    ASSIGN_OR_RETURN(const SumAdder adder, SumAdder::create(change.old.get(), change.from, change.words()));
    Sums returned;
    RETURN_IF_ERROR(adder.add(difference(total, change.added), returned).status());
  }
  return absl::OkStatus();
}

}  // namespace weft::bpf
