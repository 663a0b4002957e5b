// See yaml_events.h.
#include "control-plane/resource/yaml_events.h"

#include <algorithm>
#include <cstring>

namespace weft::control_plane {

YamlEvents::YamlEvents(std::string_view text, uint32_t first_line) : text_(text), first_line_(first_line) {
  std::memset(&event_, 0, sizeof(event_));
  usable_ = yaml_parser_initialize(&parser_) != 0;
  if (!usable_) {
    error_ = "no memory to read it";
    error_line_ = first_line;
    return;
  }
  // Nothing is guessed from its first bytes.
  yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text_.data()), text_.size());
}

YamlEvents::~YamlEvents() {
  yaml_event_delete(&event_);
  if (usable_) yaml_parser_delete(&parser_);
}

bool YamlEvents::next() {
  if (!usable_ || ended_) return false;
  yaml_event_delete(&event_);
  std::memset(&event_, 0, sizeof(event_));
  if (yaml_parser_parse(&parser_, &event_) == 0) {
    take_error();
    ended_ = true;
    return false;
  }
  ended_ = event_.type == YAML_STREAM_END_EVENT;
  return !ended_;
}

void YamlEvents::take_error() {
  error_ = parser_.problem != nullptr ? parser_.problem : "not readable";
  if (parser_.error == YAML_READER_ERROR) {
    // Of bytes there is an offset only.
    const size_t end = std::min(parser_.problem_offset, text_.size());
    const auto lines = std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(end), '\n');
    error_line_ = line_of(static_cast<size_t>(lines));
    return;
  }
  if (parser_.context != nullptr) error_ = std::string(parser_.context) + ": " + error_;
  error_line_ = line_of(parser_.problem_mark.line);
}

}  // namespace weft::control_plane
