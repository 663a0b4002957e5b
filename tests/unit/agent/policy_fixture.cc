// See policy_fixture.h.
#include "tests/unit/agent/policy_fixture.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "control-plane/compile/compiler.h"
#include "control-plane/resource/store.h"

namespace weft::agent {

const char kPods[] = R"(
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, labels: {app: cart}}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {serviceAccountName: web}
status: {podIP: 10.0.0.2}
---
apiVersion: v1
kind: Pod
metadata: {name: teller, namespace: bank}
status: {podIP: 10.0.9.3}
---
)";

std::string authorization(const std::string& ns, const std::string& name, const std::string& spec) {
  return str_cat("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ", name,
                 ", namespace: ", ns, "}\nspec: ", spec, "\n---\n");
}

MeshModel model_of(const std::string& manifests) {
  namespace cp = control_plane;
  cp::Store store;
  cp::Store::Changes changes;
  changes.emplace("f.yaml", cp::parse_file("f.yaml", manifests));
  store.update(std::move(changes));
  for (const cp::Finding& finding : store.findings()) {
    EXPECT_NE(finding.level, cp::Finding::Level::kError) << cp::to_string(finding);
  }
  cp::Change change;
  cp::diff({}, cp::compile(store.objects(), "node1"), change);
  MeshModel model;
  model.apply(change);
  return model;
}

}  // namespace weft::agent
