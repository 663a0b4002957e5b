// See message.h. Called by the plugin and by the agent's server.
#include "agent/cni/message.h"

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

namespace weft::agent {
namespace {

using Json = nlohmann::json;
using Verdict = CniAnswer::Verdict;

constexpr std::array<std::pair<Verdict, std::string_view>, 4> kVerdicts{{{Verdict::kCaptured, "captured"},
                                                                         {Verdict::kOutside, "outside"},
                                                                         {Verdict::kUnknown, "unknown"},
                                                                         {Verdict::kRefused, "refused"}}};

Json parse(std::string_view text) { return Json::parse(text, nullptr, /*allow_exceptions=*/false); }

std::string text_of(const Json& object, const char* key) {
  const auto at = object.find(key);
  return at != object.end() && at->is_string() ? at->get<std::string>() : "";
}

// What a peer sends may be no UTF-8.
std::string dump(const Json& object) { return object.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace

std::string encode(const CniRequest& request) {
  return dump({{"command", request.command},
               {"namespace", request.ns},
               {"name", request.name},
               {"uid", request.uid},
               {"netns", request.netns}});
}

std::string encode(const CniAnswer& answer) {
  std::string_view word;
  for (const auto& [verdict, name] : kVerdicts) {
    if (verdict == answer.verdict) word = name;
  }
  return dump({{"verdict", word}, {"error", answer.error}});
}

std::optional<CniRequest> decode_cni_request(std::string_view text) {
  const Json object = parse(text);
  if (!object.is_object()) return std::nullopt;
  CniRequest out{.command = text_of(object, "command"),
                 .ns = text_of(object, "namespace"),
                 .name = text_of(object, "name"),
                 .uid = text_of(object, "uid"),
                 .netns = text_of(object, "netns")};
  const bool known = out.command == "ADD" || out.command == "CHECK" || out.command == "DEL";
  if (!known || out.ns.empty() || out.name.empty()) return std::nullopt;
  return out;
}

std::optional<CniAnswer> decode_cni_answer(std::string_view text) {
  const Json object = parse(text);
  if (!object.is_object()) return std::nullopt;
  const std::string word = text_of(object, "verdict");
  for (const auto& [verdict, name] : kVerdicts) {
    if (name == word) return CniAnswer{verdict, text_of(object, "error")};
  }
  return std::nullopt;
}

}  // namespace weft::agent
