// Cuts a stream of JSON into objects as its bytes come, so that memory holds one object, whatever the length
// of a list or the life of a watch. Knows brackets and strings only; what it hands out is parsed by
// json_tree.h. Bound to one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "control-plane/kubernetes/json_identity.h"

namespace weft::control_plane {

class JsonSplitter {
 public:
  enum class Form : uint8_t {
    kStream,  // one object after the other: a watch
    kList,    // one object whose field "items" holds the objects
  };
  using Object = std::function<void(std::string_view text)>;

  // `object` is called inside feed(), with text that is valid during the call. An object of more than
  // `limit` bytes is given as an empty text; too_large() says then which one it is.
  JsonSplitter(Form form, size_t limit, Object object);

  void feed(std::string_view bytes);
  // Valid while `object` is called with an empty text.
  const ObjectIdentity& too_large() const { return large_->found(); }

  // Of a list: its own text with "items":[], when it is complete. Empty: it is not, or it is over the limit.
  std::string_view rest() const { return complete_ ? std::string_view(rest_) : std::string_view(); }
  // Brackets that do not match: nothing that follows can be understood.
  bool broken() const { return broken_; }

 private:
  void take(char c);
  void structure(char c);
  void opened(char c);
  void closed(char c);
  void append(char c);
  uint32_t object_depth() const { return form_ == Form::kStream ? 1 : 3; }
  bool in_object() const { return depth_ >= object_depth() && (form_ == Form::kStream || in_items_); }

  const Form form_;
  const size_t limit_;
  const Object object_;
  std::string text_;                   // of the object that is being read
  std::optional<JsonIdentity> large_;  // nullopt: it is within the limit
  std::string rest_;
  bool rest_over_limit_ = false;
  std::string name_;  // the last string at depth 1 of a list
  bool in_items_ = false;
  bool in_string_ = false;
  bool escaped_ = false;
  bool complete_ = false;
  bool broken_ = false;
  uint32_t depth_ = 0;
};

}  // namespace weft::control_plane
