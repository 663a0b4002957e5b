// See manifests.h.
#include "tests/harness/manifests.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <utility>

#include "base/strings.h"

namespace weft::harness {
namespace {

std::string labels_yaml(const std::map<std::string, std::string>& labels, std::string_view indent) {
  std::string out;
  for (const auto& [key, value] : labels) str_append(&out, indent, key, ": \"", value, "\"\n");
  return out;
}

std::string destination_yaml(std::string_view subset, uint32_t weight) {
  return str_cat("    - destination:\n        host: product-service\n        subset: ", subset,
                 "\n      weight: ", weight, "\n");
}

}  // namespace

std::string pod_yaml(const Pod& pod, const std::map<std::string, std::string>& labels, bool enrolled) {
  std::map<std::string, std::string> all = labels;
  std::string annotations;
  if (enrolled) {
    all["weft.dev/mesh"] = "enabled";
    annotations = str_cat("  annotations:\n    weft.dev/netns: ", pod.netns, "\n");
  }
  return str_cat("---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: ", pod.name, "\n  namespace: default\n",
                 annotations, "  labels:\n", labels_yaml(all, "    "), "spec:\n  nodeName: ", pod.node_name(),
                 "\n  serviceAccountName: default\nstatus:\n  phase: Running\n  podIP: ", pod.ip4.to_string(),
                 "\n  podIPs:\n  - ip: ", pod.ip4.to_string(), "\n  - ip: ", pod.ip6.to_string(),
                 "\n  conditions:\n  - type: Ready\n    status: \"True\"\n");
}

std::string service_yaml(const ServiceSpec& spec) {
  std::map<std::string, std::string> selector = spec.selector;
  if (selector.empty()) selector["app"] = spec.name;
  std::string out = str_cat("---\napiVersion: v1\nkind: Service\nmetadata:\n  name: ", spec.name,
                            "\n  namespace: ", spec.ns, "\nspec:\n  clusterIP: ", spec.ip4,
                            "\n  clusterIPs:\n  - ", spec.ip4, "\n");
  if (!spec.ip6.empty()) str_append(&out, "  - ", spec.ip6, "\n");
  str_append(&out, "  selector:\n", labels_yaml(selector, "    "), "  ports:\n");
  for (const PortSpec& port : spec.ports) {
    str_append(&out, "  - name: ", port.name, "\n    port: ", port.port,
               "\n    targetPort: ", port.target_port, "\n");
  }
  return out;
}

std::string canary_yaml(uint32_t v1_weight, uint32_t v2_weight) {
  return str_cat(
      "apiVersion: networking.istio.io/v1beta1\nkind: VirtualService\nmetadata:\n  name: "
      "product-service\nspec:\n"
      "  hosts:\n  - product-service\n  http:\n  - route:\n",
      destination_yaml("v1", v1_weight), destination_yaml("v2", v2_weight),
      "---\napiVersion: networking.istio.io/v1beta1\nkind: DestinationRule\nmetadata:\n  name: "
      "product-service\nspec:\n"
      "  host: product-service\n  subsets:\n  - name: v1\n    labels:\n      version: v1\n  - name: v2\n    "
      "labels:\n"
      "      version: v2\n");
}

ManifestFolder::ManifestFolder(std::string path) : path_(std::move(path)) { ::mkdir(path_.c_str(), 0755); }

void ManifestFolder::write(const std::string& file, const std::string& text) const {
  const std::string temporary = str_cat(path_, "/.", file, ".new");
  std::ofstream(temporary) << text;
  std::rename(temporary.c_str(), str_cat(path_, "/", file).c_str());
}

void ManifestFolder::remove(const std::string& file) const { ::unlink(str_cat(path_, "/", file).c_str()); }

}  // namespace weft::harness
