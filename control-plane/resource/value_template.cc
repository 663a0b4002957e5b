// See value_template.h. Grammar: %NAME%, %NAME(HEADER?OTHER)%, %NAME(HEADER):LENGTH%.
#include "control-plane/resource/value_template.h"

#include <array>

#include "absl/strings/ascii.h"
#include "base/strings.h"

namespace weft::control_plane {
namespace {

using mesh::v1::ValueTemplate;

struct Row {
  std::string_view name;
  ValueTemplate::Variable variable;
  bool response_only = false;
  bool takes_header = false;
};

constexpr std::array<Row, 14> kRows = {{
    {"DOWNSTREAM_REMOTE_ADDRESS", ValueTemplate::DOWNSTREAM_REMOTE_ADDRESS},
    {"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", ValueTemplate::DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT},
    {"DOWNSTREAM_REMOTE_PORT", ValueTemplate::DOWNSTREAM_REMOTE_PORT},
    {"DOWNSTREAM_LOCAL_ADDRESS", ValueTemplate::DOWNSTREAM_LOCAL_ADDRESS},
    {"DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", ValueTemplate::DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT},
    {"DOWNSTREAM_LOCAL_PORT", ValueTemplate::DOWNSTREAM_LOCAL_PORT},
    {"PROTOCOL", ValueTemplate::PROTOCOL},
    {"ROUTE_NAME", ValueTemplate::ROUTE_NAME},
    {"UPSTREAM_CLUSTER", ValueTemplate::UPSTREAM_CLUSTER},
    {"REQ", ValueTemplate::REQUEST_HEADER, false, true},
    {"UPSTREAM_REMOTE_ADDRESS", ValueTemplate::UPSTREAM_REMOTE_ADDRESS, true},
    {"UPSTREAM_HOST", ValueTemplate::UPSTREAM_REMOTE_ADDRESS, true},
    {"RESPONSE_CODE", ValueTemplate::RESPONSE_CODE, true},
    {"RESP", ValueTemplate::RESPONSE_HEADER, true, true},
}};

void add_literal(std::string_view text, ValueTemplate& out) {
  if (text.empty()) return;
  const int last = out.parts_size() - 1;
  if (last >= 0 && out.parts(last).variable() == ValueTemplate::VARIABLE_UNSPECIFIED) {
    out.mutable_parts(last)->mutable_literal()->append(text);
  } else {
    out.add_parts()->set_literal(std::string(text));
  }
}

bool is_header_name(std::string_view name) {
  for (const std::string_view pseudo : {":method", ":path", ":authority", ":scheme"}) {
    if (name == pseudo) return true;
  }
  for (const char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_') return false;
  }
  return !name.empty();
}

// What stands in the parentheses: HEADER or HEADER?OTHER.
bool take_headers(std::string_view text, ValueTemplate::Part& out) {
  const size_t question = text.find('?');
  out.set_header(absl::AsciiStrToLower(to_absl(text.substr(0, question))));
  if (question != std::string_view::npos) {
    out.set_alternative(absl::AsciiStrToLower(to_absl(text.substr(question + 1))));
    if (!is_header_name(out.alternative())) return false;
  }
  return is_header_name(out.header());
}

const Row* find_row(std::string_view name, bool response) {
  for (const Row& row : kRows) {
    if (row.name == name && (response || !row.response_only)) return &row;
  }
  return nullptr;
}

// `text` is what stands between two percent signs.
std::string take_variable(std::string_view text, bool response, ValueTemplate::Part& out) {
  const size_t open = text.find('(');
  const Row* row = find_row(text.substr(0, std::min(open, text.find(':'))), response);
  if (row == nullptr) return str_cat("\"%", text.substr(0, 64), "%\" is no variable that Weft knows here");
  out.set_variable(row->variable);
  std::string_view rest = text.substr(row->name.size());
  if (row->takes_header) {
    const size_t close = rest.find(')');
    if (open == std::string_view::npos || close == std::string_view::npos ||
        !take_headers(rest.substr(1, close - 1), out)) {
      return str_cat("\"%", text.substr(0, 64), "%\" needs a header's name in parentheses");
    }
    rest.remove_prefix(close + 1);
  }
  if (rest.empty()) return "";
  const auto length = rest.front() == ':' ? parse_integer<uint32_t>(rest.substr(1)) : std::nullopt;
  if (!length || *length == 0) return str_cat("\"%", text.substr(0, 64), "%\": what follows is no length");
  out.set_max_length(*length);
  return "";
}

}  // namespace

std::string parse_value_template(std::string_view text, bool response, ValueTemplate& out) {
  while (!text.empty()) {
    const size_t percent = text.find('%');
    add_literal(text.substr(0, percent), out);
    if (percent == std::string_view::npos) break;
    text.remove_prefix(percent + 1);
    const size_t end = text.find('%');
    if (end == std::string_view::npos)
      return "a percent sign without its second; a literal one is written \"%%\"";
    if (end == 0) {
      add_literal("%", out);
    } else {
      std::string problem = take_variable(text.substr(0, end), response, *out.add_parts());
      if (!problem.empty()) return problem;
    }
    text.remove_prefix(end + 1);
  }
  return "";
}

std::string known_variables(bool response) {
  std::string out;
  for (const Row& row : kRows) {
    if (row.response_only && !response) continue;
    str_append(&out, out.empty() ? "" : ", ", row.name, row.takes_header ? "(HEADER)" : "");
  }
  return out;
}

}  // namespace weft::control_plane
