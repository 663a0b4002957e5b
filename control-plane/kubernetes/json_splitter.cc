// See json_splitter.h.
#include "control-plane/kubernetes/json_splitter.h"

#include <utility>

namespace weft::control_plane {
namespace {

// Deeper than any object that the tree takes, and far from an overflow.
constexpr uint32_t kDeepest = 1 << 20;
constexpr size_t kLongestName = 64;

}  // namespace

JsonSplitter::JsonSplitter(Form form, size_t limit, Object object)
    : form_(form), limit_(limit), object_(std::move(object)) {}

void JsonSplitter::feed(std::string_view bytes) {
  for (const char c : bytes) {
    if (broken_) return;
    take(c);
  }
}

void JsonSplitter::take(char c) {
  if (!in_string_) return structure(c);
  append(c);
  if (escaped_) {
    escaped_ = false;
  } else if (c == '\\') {
    escaped_ = true;
  } else if (c == '"') {
    in_string_ = false;
    return;
  }
  if (depth_ == 1 && name_.size() < kLongestName) name_.push_back(c);
}

void JsonSplitter::structure(char c) {
  switch (c) {
    case '"':
      in_string_ = true;
      name_.clear();
      return append(c);
    case '{':
    case '[':
      return opened(c);
    case '}':
    case ']':
      return closed(c);
    case ' ':
    case '\t':
    case '\r':
    case '\n':
      return;
    default:
      // Between two objects of a list stands a comma, of a stream nothing.
      if (form_ == Form::kStream && depth_ == 0) broken_ = true;
      append(c);
  }
}

void JsonSplitter::opened(char c) {
  if (complete_ || ++depth_ > kDeepest) {
    broken_ = true;
    return;
  }
  if (form_ == Form::kList && depth_ == 2 && c == '[' && name_ == "items") {
    append(c);
    in_items_ = true;
    return;
  }
  if (in_object() && depth_ == object_depth()) {
    text_.clear();
    large_.reset();
  }
  append(c);
}

void JsonSplitter::closed(char c) {
  if (depth_ == 0) {
    broken_ = true;
    return;
  }
  if (in_items_ && depth_ == 2) in_items_ = false;
  append(c);
  const bool object = in_object() && depth_ == object_depth();
  --depth_;
  if (object) object_(large_ ? std::string_view() : std::string_view(text_));
  if (form_ == Form::kList && depth_ == 0) complete_ = !rest_over_limit_;
}

void JsonSplitter::append(char c) {
  // Between objects there are commas and line ends only.
  if (!in_object() && (in_items_ || form_ == Form::kStream)) return;
  if (!in_object()) {
    rest_over_limit_ = rest_over_limit_ || rest_.size() >= limit_;
    if (!rest_over_limit_) rest_.push_back(c);
    return;
  }
  if (!large_ && text_.size() >= limit_) {
    large_.emplace(form_ == Form::kStream);
    large_->feed(text_);
  }
  if (large_)
    large_->feed({&c, 1});
  else
    text_.push_back(c);
}

}  // namespace weft::control_plane
