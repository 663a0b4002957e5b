// See parse_header_edits.h. Istio's order: removals, then all sets by name, then all adds by name.
#include "control-plane/resource/parse_header_edits.h"

#include <algorithm>
#include <array>
#include <map>

#include "absl/strings/ascii.h"
#include "base/strings.h"
#include "control-plane/resource/value_template.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;
using mesh::v1::HeaderEdits;

constexpr std::array<Names, 2> kHeadersRead = {"request", "response"};
constexpr std::array<Names, 3> kEditsRead = {"set", "add", "remove"};
// They frame the message or belong to one connection: an edit would smuggle or break something.
constexpr std::array<Names, 9> kFraming = {"connection", "content-length",    "http2-settings",
                                           "keep-alive", "proxy-connection",  "te",
                                           "trailer",    "transfer-encoding", "upgrade"};
constexpr size_t kMaxValueBytes = 8 * 1024;

bool is_host(Names name) { return name == "host" || name == ":authority"; }

bool is_field_name(Names name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           Names("!#$&'*+-.^_`|~").find(c) != Names::npos;
  });
}

}  // namespace

bool check_edited_name(const FieldReader& entry, std::string_view name) {
  if (is_host(name)) {
    entry.error(kValueRejected, str_cat("\"", name, "\" can only be set in a request"),
                "use rewrite.authority or headers.request.set");
    return false;
  }
  if (std::find(kFraming.begin(), kFraming.end(), name) != kFraming.end()) {
    entry.error(kValueRejected, str_cat("\"", name, "\" belongs to one connection or frames the message"),
                "remove it: the proxy writes it");
    return false;
  }
  if (is_field_name(name)) return true;
  entry.error(
      kValueRejected, str_cat("\"", name.substr(0, 64), "\" is no header name"),
      name.starts_with(':') ? "use rewrite for the path and the authority" : "use letters, digits and '-'");
  return false;
}

bool check_edited_value(const FieldReader& entry, const std::string& value) {
  const auto control = [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
  };
  if (value.size() > kMaxValueBytes) {
    entry.error(kValueRejected, str_cat("a value of ", value.size(), " bytes"),
                str_cat("use at most ", kMaxValueBytes));
    return false;
  }
  const bool space = !value.empty() && (absl::ascii_isspace(static_cast<unsigned char>(value.front())) ||
                                        absl::ascii_isspace(static_cast<unsigned char>(value.back())));
  if (space || std::any_of(value.begin(), value.end(), control)) {
    entry.error(kValueRejected, "a header value has no line breaks, no controls and no white space around it",
                "write it on one line");
    return false;
  }
  return true;
}

namespace {

class EditsParser {
 public:
  EditsParser(const FieldReader& edits, bool response, HeaderEdits& out, std::string* authority)
      : edits_(edits), response_(response), out_(out), authority_(authority) {}

  void run() {
    for (const FieldReader& item : edits_.items("remove")) {
      const auto text = item.as_text();
      if (!text) continue;
      std::string name = absl::AsciiStrToLower(*text);
      if (check_edited_name(item, name)) out_.add_remove(std::move(name));
    }
    take("set", false);
    take("add", true);
  }

 private:
  void take(Names field, bool append) {
    const auto map = edits_.child(field);
    if (!map) return;
    // By name, whatever its case; text_map() reports what is no map.
    std::map<std::string, std::pair<FieldReader, std::string>> sorted;
    for (const auto& [key, value] : edits_.text_map(field)) {
      const FieldReader entry = map->child(key).value_or(*map);
      if (!sorted.try_emplace(absl::AsciiStrToLower(key), entry, value).second)
        entry.error(kDuplicateField, "the header is given twice", "keep one of the two");
    }
    for (const auto& [name, given] : sorted) take_one(given.first, name, given.second, append);
  }

  void take_one(const FieldReader& entry, std::string name, const std::string& value, bool append) {
    if (authority_ != nullptr && is_host(name)) {
      check_authority(entry, value);
      if (authority_->empty()) *authority_ = value;
      return;
    }
    if (!check_edited_name(entry, name) || !check_edited_value(entry, value)) return;
    HeaderEdits::Edit& edit = *out_.add_edits();
    edit.set_name(std::move(name));
    edit.set_append(append);
    const std::string problem = parse_value_template(value, response_, *edit.mutable_value());
    if (!problem.empty())
      entry.error(kValueRejected, problem, str_cat("variables are ", known_variables(response_)));
  }

  const FieldReader& edits_;
  const bool response_;
  HeaderEdits& out_;
  std::string* authority_;
};

}  // namespace

void check_authority(const FieldReader& value, const std::string& authority) {
  const auto allowed = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || Names("-._:[]").find(c) != Names::npos;
  };
  if (authority.empty() || authority.size() > 255 ||
      !std::all_of(authority.begin(), authority.end(), allowed)) {
    value.error(kValueRejected, str_cat("\"", authority.substr(0, 64), "\" is no host"),
                "use a name or an address, with a port if needed");
  }
}

ParsedHeaders parse_header_edits(const FieldReader& item) {
  ParsedHeaders out;
  const auto headers = item.child("headers");
  if (!headers || !headers->expect_map({.read = kHeadersRead, .known = {}})) return out;
  const auto request = headers->child("request");
  if (request && request->expect_map({.read = kEditsRead, .known = {}}))
    EditsParser(*request, false, out.request, &out.authority).run();
  const auto response = headers->child("response");
  if (response && response->expect_map({.read = kEditsRead, .known = {}}))
    EditsParser(*response, true, out.response, nullptr).run();
  return out;
}

}  // namespace weft::control_plane
