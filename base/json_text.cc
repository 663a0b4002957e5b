// See json_text.h. nlohmann's parser is not recursive, so that depth costs no stack before it is counted.
#include "base/json_text.h"

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/strings.h"

namespace weft {
namespace {

using Json = nlohmann::json;

// What is wrong with the text so far; empty: nothing.
class Watch {
 public:
  explicit Watch(const JsonLimits& limits) : limits_(limits) {}

  bool sees(Json::parse_event_t event, const Json& parsed) {
    switch (event) {
      case Json::parse_event_t::object_start:
      case Json::parse_event_t::array_start:
        names_.emplace_back();
        if (static_cast<int>(names_.size()) > limits_.depth) fault_ = "it is nested too deeply";
        break;
      case Json::parse_event_t::object_end:
      case Json::parse_event_t::array_end:
        names_.pop_back();
        break;
      case Json::parse_event_t::key:
        if (!names_.back().insert(parsed.get_ref<const std::string&>()).second)
          fault_ = "a name stands twice in one object";
        [[fallthrough]];
      case Json::parse_event_t::value:
        if (++values_ > limits_.values) fault_ = "it has too many values";
        break;
    }
    return true;
  }
  std::string_view fault() const { return fault_; }

 private:
  const JsonLimits& limits_;
  std::vector<std::set<std::string>> names_;  // of the objects that are open
  size_t values_ = 0;
  std::string_view fault_;
};

}  // namespace

absl::StatusOr<Json> read_json(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.bytes) return absl::InvalidArgumentError("it is too long");
  // The library would skip a byte order mark.
  if (text.starts_with('\xef')) return absl::InvalidArgumentError("it is no JSON");
  Watch watch(limits);
  Json out = Json::parse(
      text, [&watch](int, Json::parse_event_t event, Json& parsed) { return watch.sees(event, parsed); },
      false);
  if (!watch.fault().empty()) return absl::InvalidArgumentError(to_absl(watch.fault()));
  if (out.is_discarded()) return absl::InvalidArgumentError("it is no JSON");
  return out;
}

}  // namespace weft
