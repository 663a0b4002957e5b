// Annotation weft.dev/shortcut: whose pods ask for the shortcut, and what of it is refused.
#include <gmock/gmock.h>

#include "base/strings.h"
#include "tests/unit/control-plane/compile_fixture.h"

namespace weft::control_plane {
namespace {

using ::testing::ElementsAre;

std::string object(std::string_view kind, std::string_view meta, std::string_view rest = "") {
  return str_cat("apiVersion: v1\nkind: ", kind, "\nmetadata: {", meta, "}\n", rest, "---\n");
}

std::string annotated(std::string_view value) {
  return str_cat(", annotations: {weft.dev/shortcut: ", value, "}");
}

// Of a pod and its namespace with these annotations ("": none).
bool asks(std::string_view of_pod, std::string_view of_namespace) {
  const std::string text =
      object("Namespace", str_cat("name: shop", of_namespace.empty() ? "" : annotated(of_namespace))) +
      object("Pod", str_cat("name: web, namespace: shop", of_pod.empty() ? "" : annotated(of_pod)),
             "status: {podIP: 10.1.0.1}\n");
  return compile_text(text).local_pods.at(0).shortcut;
}

TEST(ShortcutAnnotationTest, APodAsksForItOrItsNamespaceDoesAndThePodsWordBeatsTheOther) {
  EXPECT_FALSE(asks("", ""));
  EXPECT_TRUE(asks("enabled", ""));
  EXPECT_TRUE(asks("", "enabled"));
  EXPECT_FALSE(asks("disabled", "enabled"));
  EXPECT_TRUE(asks("enabled", "disabled"));
}

TEST(ShortcutAnnotationTest, AnotherWordIsRefusedByNameAndOnAnotherKindItHasNoEffect) {
  const auto finding = [](const std::string& text) {
    const ParsedFile parsed = parse_file("f", text);
    return parsed.findings.size() != 1 ? str_cat(parsed.findings.size(), " findings")
                                       : str_cat(parsed.findings[0].code, " ", parsed.findings[0].field, ": ",
                                                 parsed.findings[0].message, "; ", parsed.findings[0].remedy);
  };
  for (const char* kind : {"Pod", "Namespace"}) {
    EXPECT_EQ(finding(object(kind, str_cat("name: web", annotated("enabled")))), "0 findings");
    EXPECT_THAT(finding(object(kind, str_cat("name: web", annotated("'yes'")))),
                ::testing::HasSubstr("\"yes\" switches nothing on or off; use enabled or disabled"));
  }
  EXPECT_THAT(
      finding(object("Service", str_cat("name: web", annotated("enabled")), "spec: {ports: [{port: 80}]}\n")),
      ::testing::HasSubstr("no effect"));
}

}  // namespace
}  // namespace weft::control_plane
