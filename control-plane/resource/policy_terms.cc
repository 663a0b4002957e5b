// See policy_terms.h.
#include "control-plane/resource/policy_terms.h"

#include "base/ip_range.h"
#include "base/strings.h"

namespace weft::control_plane {
namespace {

namespace pb = istio::security;
template <typename T>
using List = google::protobuf::RepeatedPtrField<T>;

constexpr size_t kMaxAccounts = 16;
constexpr std::string_view kScheme = "spiffe://";
constexpr char kAfterTrustDomain[] = "/ns/";

std::string quoted(const std::string& text) { return str_cat("\"", text.substr(0, 64), "\""); }

// The texts of a list that must not be empty if it is there.
struct Value {
  FieldReader where;
  std::string text;
};
std::vector<Value> values_of(const FieldReader& map, std::string_view name) {
  std::vector<Value> out;
  const auto list = map.child(name);
  if (!list) return out;
  if (list->node().kind == YamlNode::Kind::kSequence && list->node().items.empty()) {
    list->error(kFieldMissing, "the list is empty", "give at least one value, or remove the field");
  }
  for (const FieldReader& item : map.items(name)) {
    auto text = item.as_text();
    if (text && text->empty()) item.error(kFieldMissing, "the value is empty", "give a value, or remove it");
    if (text && !text->empty()) out.push_back({item, std::move(*text)});
  }
  return out;
}

void add_text(const Value& value, List<pb::StringMatch>* out) {
  const std::string& text = value.text;
  const size_t star = text.find('*');
  if (text == "*") {
    out->Add()->mutable_presence();
  } else if (star == std::string::npos) {
    out->Add()->set_exact(text);
  } else if (text.find('*', star + 1) != std::string::npos || (star != 0 && star != text.size() - 1)) {
    // Istio would take it as it stands, and no identity, host or method has a star.
    value.where.error(kValueRejected, str_cat(quoted(text), " would never match"),
                      "use one *, at the beginning or at the end");
  } else if (star == 0) {
    out->Add()->set_suffix(text.substr(1));
  } else {
    out->Add()->set_prefix(text.substr(0, star));
  }
}

constexpr std::string_view kSegment = "{*}";
constexpr std::string_view kRest = "{**}";

// Empty: it is one; else what is wrong with it.
std::string_view template_fault(std::string_view text) {
  if (!text.starts_with("/")) return "a template begins with \"/\"";
  bool rest = false;
  while (!text.empty()) {
    text.remove_prefix(1);
    const std::string_view segment = text.substr(0, text.find('/'));
    text.remove_prefix(segment.size());
    if (segment.find_first_of("{}*") == std::string_view::npos) continue;
    if (segment != kSegment && segment != kRest) return "{*} and {**} stand alone between two slashes";
    if (rest) return "{**} is the last of the operators";
    rest = segment == kRest;
  }
  return {};
}

}  // namespace

bool expect_full_map(const FieldReader& map, const FieldTable& table) {
  if (!map.expect_map(table)) return false;
  for (const YamlField& field : map.node().fields) {
    if (!map.has(field.name)) {
      map.error_at(field.name, kFieldMissing, "the field is empty", "give it a value, or remove it");
    }
  }
  return true;
}

void add_namespaces(const FieldReader& map, std::string_view name, List<pb::StringMatch>* out) {
  for (const Value& value : values_of(map, name)) add_text(value, out);
}

void add_principals(const FieldReader& map, std::string_view name, List<pb::StringMatch>* out) {
  for (const Value& value : values_of(map, name)) {
    if (value.text.starts_with(kScheme)) {
      value.where.error(kValueRejected, "a principal is written without its scheme",
                        str_cat("write ", quoted(value.text.substr(kScheme.size()))));
      continue;
    }
    add_text(value, out);
  }
}

void add_trust_domains(const FieldReader& map, std::string_view name, List<pb::StringMatch>* out) {
  for (const Value& value : values_of(map, name)) {
    const size_t star = value.text.find('*');
    if (value.text.find('/') != std::string::npos) {
      value.where.error(kValueRejected, str_cat(quoted(value.text), " is no trust domain"),
                        "write what stands between spiffe:// and the next slash: cluster.local");
    } else if (star != std::string::npos && star != value.text.size() - 1) {
      value.where.error(kValueRejected, str_cat(quoted(value.text), " is not looked for"),
                        "write the whole name, or its beginning and a *");
    } else if (value.text == "*") {
      out->Add()->mutable_presence();
    } else if (star != std::string::npos) {
      out->Add()->set_prefix(value.text.substr(0, star));
    } else {
      out->Add()->set_prefix(value.text + kAfterTrustDomain);
    }
  }
}

void add_ranges(const FieldReader& map, std::string_view name, List<pb::Address>* out) {
  for (const Value& value : values_of(map, name)) {
    const auto range = IpRange::parse(value.text);
    if (!range) {
      value.where.error(kValueRejected, str_cat(quoted(value.text), " is no address and no address range"),
                        "write 10.0.0.1, 10.0.0.0/8, fd00::1 or fd00::/8");
      continue;
    }
    pb::Address& address = *out->Add();
    address.set_address(range->ip.packed());
    address.set_length(range->length);
  }
}

void add_ports(const FieldReader& map, std::string_view name,
               google::protobuf::RepeatedField<uint32_t>* out) {
  for (const Value& value : values_of(map, name)) {
    const auto port = parse_integer<uint16_t>(value.text);
    if (port && *port != 0) {
      out->Add(*port);
    } else {
      value.where.error(kValueRejected, str_cat(quoted(value.text), " is no port"),
                        "use a number from 1 to 65535, in quotes");
    }
  }
}

void add_accounts(const FieldReader& map, std::string_view name, const std::string& ns,
                  List<pb::ServiceAccountMatch>* out) {
  const std::vector<Value> values = values_of(map, name);
  if (values.size() > kMaxAccounts) {
    map.error_at(name, kValueRejected, str_cat(values.size(), " service accounts in one list"),
                 str_cat("give at most ", kMaxAccounts, ", and use several entries of from"));
  }
  for (const Value& value : values) {
    const size_t slash = value.text.find('/');
    const std::string account = slash == std::string::npos ? value.text : value.text.substr(slash + 1);
    const std::string account_ns = slash == std::string::npos ? ns : value.text.substr(0, slash);
    if (account.empty() || account_ns.empty() || account.find_first_of("/*") != std::string::npos ||
        account_ns.find('*') != std::string::npos) {
      value.where.error(kValueRejected, str_cat(quoted(value.text), " is no service account"),
                        "write NAME or NAMESPACE/NAME, without wildcards");
      continue;
    }
    pb::ServiceAccountMatch& match = *out->Add();
    match.set_namespace_(account_ns);
    match.set_serviceaccount(account);
  }
}

void add_texts(const FieldReader& map, std::string_view name, List<pb::StringMatch>* out) {
  for (const Value& value : values_of(map, name)) add_text(value, out);
}

void add_paths(const FieldReader& map, std::string_view name, List<pb::StringMatch>* out,
               List<std::string>* templates) {
  for (const Value& value : values_of(map, name)) {
    if (value.text.find_first_of("{}") == std::string::npos) {
      add_text(value, out);
    } else if (const std::string_view fault = template_fault(value.text); !fault.empty()) {
      value.where.error(kValueRejected, str_cat(quoted(value.text), " is no path template: ", fault),
                        "write \"/a/{*}/b\" or \"/a/{**}\"");
    } else {
      templates->Add(std::string(value.text));
    }
  }
}

void check_texts(const FieldReader& map, std::string_view name) { values_of(map, name); }

}  // namespace weft::control_plane
