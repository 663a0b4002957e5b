// What one JSON object calls itself, found as its bytes come, however many there are: of an object that is
// too large to be read it says which one it is. Knows strings and brackets only; bounded memory.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace weft::control_plane {

struct ObjectIdentity {
  std::string type;  // of an event: "MODIFIED"
  std::string ns, name, uid, version;
};

class JsonIdentity {
 public:
  // `event`: the object stands in the field "object" of what is fed.
  explicit JsonIdentity(bool event) : event_(event) {}

  void feed(std::string_view bytes) {
    for (const char c : bytes) take(c);
  }
  // Texts that are not there, or longer than any name, are empty.
  const ObjectIdentity& found() const { return found_; }

 private:
  static constexpr size_t kLongest = 256;
  static constexpr size_t kLevels = 3;

  void take(char c);
  void in_string(char c);
  void string_ended();
  // Where the value of the field that is being read goes; nullptr: nowhere.
  std::string* place();

  const bool event_;
  ObjectIdentity found_;
  uint32_t depth_ = 0;
  // Of the levels from the outermost: the field that is being read.
  std::array<std::string, kLevels> fields_;
  std::string text_;
  bool in_string_ = false;
  bool escaped_ = false;
  bool plain_ = true;  // nothing of the text is escaped, and all of it is here
  bool value_ = false;
};

}  // namespace weft::control_plane
