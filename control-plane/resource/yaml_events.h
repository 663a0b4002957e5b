// libyaml's parser as a sequence of events that ends by itself: kubectl reads manifests by a port of the same
// library, so both understand the same texts. One thread at a time; never throws.
#pragma once

#include <yaml.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace weft::control_plane {

class YamlEvents {
 public:
  // UTF-8. `text` outlives the object; `first_line` is that of its first line in the file.
  YamlEvents(std::string_view text, uint32_t first_line);
  ~YamlEvents();
  YamlEvents(const YamlEvents&) = delete;
  YamlEvents& operator=(const YamlEvents&) = delete;

  // The next event; false: there is none, or error() says why it cannot be had.
  bool next();
  // Valid until the next next().
  const yaml_event_t& event() const { return event_; }
  // In the file, from 1.
  uint32_t line() const { return line_of(event_.start_mark.line); }

  const std::string& error() const { return error_; }
  uint32_t error_line() const { return error_line_; }

 private:
  uint32_t line_of(size_t line) const { return first_line_ + static_cast<uint32_t>(line); }
  void take_error();

  const std::string_view text_;
  const uint32_t first_line_;
  bool usable_ = false;
  bool ended_ = false;
  yaml_parser_t parser_;
  yaml_event_t event_;
  std::string error_;
  uint32_t error_line_ = 0;
};

}  // namespace weft::control_plane
