// The stable codes of findings. docs/findings.md has a row for each (a test compares the two); a code is
// never reused.
#pragma once

namespace weft::control_plane {

inline constexpr char kUnknownWeftKey[] = "WF0001";
inline constexpr char kValueRejected[] = "WF0002";
inline constexpr char kPolicySelectsNothing[] = "WF0003";
inline constexpr char kReferenceMissing[] = "WF0005";
inline constexpr char kRouteUnreachable[] = "WF0007";
inline constexpr char kWeightsAllZero[] = "WF0008";
inline constexpr char kServiceSelectsNothing[] = "WF0011";
inline constexpr char kHttpTerm[] = "WF0013";
inline constexpr char kFileUnreadable[] = "WF0020";
inline constexpr char kYamlSyntax[] = "WF0021";
inline constexpr char kOverLimit[] = "WF0022";
inline constexpr char kKindIgnored[] = "WF0023";
inline constexpr char kUnknownField[] = "WF0024";
inline constexpr char kNotSupportedYet[] = "WF0025";
inline constexpr char kFieldMissing[] = "WF0026";
inline constexpr char kWrongType[] = "WF0027";
inline constexpr char kDuplicateField[] = "WF0028";
inline constexpr char kDuplicateObject[] = "WF0029";
inline constexpr char kNotAnObject[] = "WF0030";
inline constexpr char kApiVersion[] = "WF0031";
inline constexpr char kHostTaken[] = "WF0032";
inline constexpr char kSubsetEmpty[] = "WF0033";
inline constexpr char kAnnotationIgnored[] = "WF0034";
inline constexpr char kDenyWithoutEffect[] = "WF0035";
inline constexpr char kWithoutEffect[] = "WF0036";
inline constexpr char kLargeDirectBody[] = "WF0037";
inline constexpr char kRouteConflict[] = "WF0050";
inline constexpr char kBackendRefused[] = "WF0051";
inline constexpr char kNotAttached[] = "WF0052";
inline constexpr char kTlsNotOriginated[] = "WF0053";
inline constexpr char kTlsNotEnded[] = "WF0054";
inline constexpr char kKeysMissing[] = "WF0060";
inline constexpr char kMeshFieldIgnored[] = "WF0071";
inline constexpr char kProviderMissing[] = "WF0072";

}  // namespace weft::control_plane
