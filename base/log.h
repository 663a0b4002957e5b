// One-line structured log on standard error: `2026-01-01T00:00:00.000Z info event key=value …`.
// Callers pass an event name and pairs; values with spaces or quotes are quoted. Any thread. Never pass
// secrets.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "base/strings.h"

namespace weft::log {

enum class Level { kError, kWarn, kInfo, kDebug };

struct Field {
  std::string_view key;
  std::string value;
  template <typename T>
  Field(std::string_view k, const T& v) : key(k), value(str_cat(v)) {}
};

// Messages above this level are dropped. Default kInfo.
void set_level(Level level);
// "error" | "warn" | "info" | "debug"; false when the name is none of them.
bool set_level(std::string_view name);
bool enabled(Level level);

void write(Level level, std::string_view event, std::initializer_list<Field> fields);

inline void error(std::string_view event, std::initializer_list<Field> fields = {}) {
  write(Level::kError, event, fields);
}
inline void warn(std::string_view event, std::initializer_list<Field> fields = {}) {
  write(Level::kWarn, event, fields);
}
inline void info(std::string_view event, std::initializer_list<Field> fields = {}) {
  write(Level::kInfo, event, fields);
}
inline void debug(std::string_view event, std::initializer_list<Field> fields = {}) {
  if (enabled(Level::kDebug)) write(Level::kDebug, event, fields);
}

}  // namespace weft::log
