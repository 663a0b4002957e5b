// Formatting and one write(2) per line; see log.h.
#include "base/log.h"

#include <unistd.h>

#include <atomic>

#include "absl/strings/escaping.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace weft::log {
namespace {

std::atomic<Level> g_level{Level::kInfo};

std::string_view name_of(Level level) {
  switch (level) {
    case Level::kError:
      return "error";
    case Level::kWarn:
      return "warn";
    case Level::kInfo:
      return "info";
    case Level::kDebug:
      return "debug";
  }
  return "?";
}

bool needs_quotes(std::string_view value) {
  if (value.empty()) return true;
  for (char c : value) {
    if (c <= ' ' || c == '"' || c == '=' || c == 0x7f) return true;
  }
  return false;
}

}  // namespace

void set_level(Level level) { g_level.store(level, std::memory_order_relaxed); }

bool set_level(std::string_view name) {
  for (Level level : {Level::kError, Level::kWarn, Level::kInfo, Level::kDebug}) {
    if (name == name_of(level)) {
      set_level(level);
      return true;
    }
  }
  return false;
}

bool enabled(Level level) { return level <= g_level.load(std::memory_order_relaxed); }

void write(Level level, std::string_view event, std::initializer_list<Field> fields) {
  if (!enabled(level)) return;
  std::string line =
      absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone());
  str_append(&line, " ", name_of(level), " ", event);
  for (const Field& field : fields) {
    str_append(&line, " ", field.key, "=");
    if (needs_quotes(field.value)) {
      str_append(&line, "\"", absl::Utf8SafeCEscape(field.value), "\"");
    } else {
      str_append(&line, field.value);
    }
  }
  line.push_back('\n');
  // One write per line keeps lines of several threads whole; a full or closed stderr must not stop the mesh.
  [[maybe_unused]] ssize_t ignored = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace weft::log
