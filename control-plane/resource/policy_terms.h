// The lists of values in an AuthorizationPolicy as terms of the wire. Used by the parsers of the policy and
// of its rules. Everything wrong goes to the reader's findings; a value that was reported is left out, and so
// is its document in the end.
#pragma once

#include <string>
#include <string_view>

#include "control-plane/resource/field_reader.h"
#include "proto/istio/security.pb.h"

namespace weft::control_plane {

// expect_map(), and every field that is given must have a value: in a policy, "from:" with nothing behind it
// would mean everybody.
bool expect_full_map(const FieldReader& map, const FieldTable& table);

// Each reads the list `name` of `map`, which may be absent but not empty, and adds its values to `out`.
// Texts: "*" is any, "*x" ends with x, "x*" begins with x, else the text itself.
void add_namespaces(const FieldReader& map, std::string_view name,
                    google::protobuf::RepeatedPtrField<istio::security::StringMatch>* out);
void add_principals(const FieldReader& map, std::string_view name,
                    google::protobuf::RepeatedPtrField<istio::security::StringMatch>* out);
// Trust domains, as the beginnings of principals: a text, or how it begins ("x*", "*").
void add_trust_domains(const FieldReader& map, std::string_view name,
                       google::protobuf::RepeatedPtrField<istio::security::StringMatch>* out);
// Addresses and ranges.
void add_ranges(const FieldReader& map, std::string_view name,
                google::protobuf::RepeatedPtrField<istio::security::Address>* out);
// 1 to 65535.
void add_ports(const FieldReader& map, std::string_view name, google::protobuf::RepeatedField<uint32_t>* out);
// "NAME" in `ns`, or "NAMESPACE/NAME"; at most 16.
void add_accounts(const FieldReader& map, std::string_view name, const std::string& ns,
                  google::protobuf::RepeatedPtrField<istio::security::ServiceAccountMatch>* out);

// Methods, hosts and values of headers.
void add_texts(const FieldReader& map, std::string_view name,
               google::protobuf::RepeatedPtrField<istio::security::StringMatch>* out);
// A path, or a template with "{*}" or "{**}".
void add_paths(const FieldReader& map, std::string_view name,
               google::protobuf::RepeatedPtrField<istio::security::StringMatch>* out,
               google::protobuf::RepeatedPtrField<std::string>* templates);

// As the others, for values that nothing reads yet.
void check_texts(const FieldReader& map, std::string_view name);

}  // namespace weft::control_plane
