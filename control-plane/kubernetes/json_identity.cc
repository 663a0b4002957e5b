// See json_identity.h.
#include "control-plane/kubernetes/json_identity.h"

namespace weft::control_plane {

void JsonIdentity::take(char c) {
  if (in_string_) return in_string(c);
  switch (c) {
    case '"':
      in_string_ = true;
      plain_ = true;
      text_.clear();
      return;
    case '{':
    case '[':
      value_ = false;
      if (++depth_ <= kLevels) fields_[depth_ - 1].clear();
      return;
    case '}':
    case ']':
      value_ = false;
      depth_ -= depth_ > 0 ? 1 : 0;
      return;
    case ':':
      value_ = true;
      if (depth_ > 0 && depth_ <= kLevels) fields_[depth_ - 1] = text_;
      return;
    case ',':
      value_ = false;
      return;
    default:
      return;
  }
}

void JsonIdentity::in_string(char c) {
  if (escaped_) {
    escaped_ = false;
  } else if (c == '\\') {
    escaped_ = true;
    plain_ = false;
  } else if (c == '"') {
    in_string_ = false;
    string_ended();
  } else if (text_.size() < kLongest) {
    text_.push_back(c);
  } else {
    plain_ = false;
  }
}

void JsonIdentity::string_ended() {
  // Half a name would be another one.
  if (!plain_) text_.clear();
  if (!value_) return;
  value_ = false;
  if (std::string* to = place()) *to = text_;
}

std::string* JsonIdentity::place() {
  if (event_ && depth_ == 1 && fields_[0] == "type") return &found_.type;
  const size_t outer = event_ ? 1 : 0;
  if (event_ && fields_[0] != "object") return nullptr;
  if (depth_ != outer + 2 || fields_[outer] != "metadata") return nullptr;
  const std::string& field = fields_[outer + 1];
  if (field == "name") return &found_.name;
  if (field == "namespace") return &found_.ns;
  if (field == "uid") return &found_.uid;
  return field == "resourceVersion" ? &found_.version : nullptr;
}

}  // namespace weft::control_plane
