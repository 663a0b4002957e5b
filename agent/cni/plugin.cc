// See plugin.h. Called by plugin_main.cc.
#include "agent/cni/plugin.h"

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>

namespace weft::agent {
namespace {

using Json = nlohmann::json;
using Outcome = CniPlugin::Outcome;

constexpr std::array<const char*, 5> kVersions{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};
// Error codes of the specification; 100 and above are the plugin's own.
constexpr int kBadVersion = 1;
constexpr int kBadEnvironment = 4;
constexpr int kNoJson = 6;
constexpr int kBadConfig = 7;
constexpr int kAgentAway = 100;
constexpr int kNotCaptured = 101;

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string text_of(const Json& object, const char* key) {
  const auto at = object.find(key);
  return at != object.end() && at->is_string() ? at->get<std::string>() : "";
}

Outcome fail(const std::string& version, int code, const std::string& message,
             const std::string& details = "") {
  Json error{{"cniVersion", version}, {"code", code}, {"msg", message}};
  if (!details.empty()) error["details"] = details;
  return {1, dump(error)};
}

// "K8S_POD_NAME=web;K8S_POD_NAMESPACE=shop": in any order, with others between them.
std::map<std::string, std::string> parse_arguments(std::string_view text) {
  std::map<std::string, std::string> out;
  while (!text.empty()) {
    const size_t end = std::min(text.find(';'), text.size());
    const std::string_view pair = text.substr(0, end);
    const size_t equals = pair.find('=');
    if (equals != std::string_view::npos)
      out[std::string(pair.substr(0, equals))] = std::string(pair.substr(equals + 1));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

std::optional<CniPluginConfig> parse_config(const Json& json) {
  CniPluginConfig out{
      .socket = text_of(json, "socket"), .namespaces_file = text_of(json, "namespacesFile"), .exempt = {}};
  if (const auto exempt = json.find("exemptNamespaces"); exempt != json.end()) {
    if (!exempt->is_array()) return std::nullopt;
    for (const Json& one : *exempt) {
      if (!one.is_string()) return std::nullopt;
      out.exempt.push_back(one.get<std::string>());
    }
  }
  if (const auto timeout = json.find("timeoutSeconds"); timeout != json.end()) {
    if (!timeout->is_number_integer()) return std::nullopt;
    const auto seconds = timeout->get<int64_t>();
    if (seconds < 1 || seconds > 100) return std::nullopt;
    out.timeout_seconds = static_cast<int>(seconds);
  }
  if (out.socket.empty() || out.namespaces_file.empty()) return std::nullopt;
  return out;
}

bool has_line(std::string_view text, std::string_view line) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    if (text.substr(0, end) == line) return true;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return false;
}

// Why a pod must wait for an agent that does not answer, or does not know it; "": it may start without.
// Without the agent nobody knows but by what it wrote down; when there is nothing written it has not run
// since the node did, and any pod could be one of the mesh.
std::string must_wait(const CniPluginConfig& config, const std::string& ns,
                      const std::optional<std::string>& namespaces) {
  if (std::find(config.exempt.begin(), config.exempt.end(), ns) != config.exempt.end()) return "";
  if (!namespaces) return "the agent has not run since this node started";
  return has_line(*namespaces, ns) ? "namespace " + ns + " is in the mesh" : "";
}

// An agent whose API server is away knows no new pod, and must not keep what brings the server back: that it
// does not know a pod is no more than that it does not answer.
Outcome hold(const std::string& version, const std::string& socket, const std::string& pod,
             const std::string& why, const std::optional<CniAnswer>& answer) {
  if (answer) {
    return fail(version, kNotCaptured,
                "weft-agent does not know " + pod + ", and it must not start unmeshed: " + why,
                answer->error);
  }
  return fail(
      version, kAgentAway,
      "weft-agent does not answer on " + socket + ", and " + pod + " must not start unmeshed: " + why,
      "next: kubectl get pods -A -o wide | grep weft; the pod starts when the agent of its node runs");
}

Outcome report_version() {
  Json versions = Json::array();
  for (const char* version : kVersions) versions.push_back(version);
  return {0, dump({{"cniVersion", "1.1.0"}, {"supportedVersions", versions}})};
}

}  // namespace

Outcome CniPlugin::run(std::string_view input) const {
  const std::string command = environment("CNI_COMMAND");
  if (command == "VERSION") return report_version();
  const Json json = Json::parse(input, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object())
    return fail("1.0.0", kNoJson, "the configuration on standard input is no JSON object");
  const std::string version = text_of(json, "cniVersion");
  if (std::find(kVersions.begin(), kVersions.end(), version) == kVersions.end())
    return fail("1.0.0", kBadVersion, "cniVersion \"" + version + "\" is not supported",
                "0.3.0 to 1.1.0 are");
  if (command == "GC" || command == "STATUS") return {};
  if (command != "ADD" && command != "DEL" && command != "CHECK")
    return fail(version, kBadEnvironment, "CNI_COMMAND \"" + command + "\" is not known");
  const std::optional<CniPluginConfig> config = parse_config(json);
  // What cannot be read must not keep a pod from ending.
  if (!config && command == "DEL") return {};
  if (!config) {
    return fail(version, kBadConfig,
                "socket, namespacesFile, exemptNamespaces or timeoutSeconds is not as weft-agent writes it",
                "next: remove the entry of weft-cni, weft-agent writes it again");
  }
  const auto result = json.find("prevResult");
  if (command == "ADD" && (result == json.end() || !result->is_object()))
    return fail(version, kBadConfig,
                "there is no prevResult: weft-cni must stand behind the plugin that makes the network");
  const Outcome done{0, command == "ADD" ? dump(*result) : ""};

  const std::map<std::string, std::string> arguments = parse_arguments(environment("CNI_ARGS"));
  const auto argument = [&arguments](const char* name) {
    const auto at = arguments.find(name);
    return at == arguments.end() ? std::string() : at->second;
  };
  const CniRequest request{.command = command,
                           .ns = argument("K8S_POD_NAMESPACE"),
                           .name = argument("K8S_POD_NAME"),
                           .uid = argument("K8S_POD_UID"),
                           .netns = environment("CNI_NETNS")};
  // No pod of Kubernetes.
  if (request.ns.empty() || request.name.empty()) return done;
  if (request.netns.empty() && command != "DEL")
    return fail(version, kBadEnvironment, "CNI_NETNS is not set");
  const std::optional<CniAnswer> answer = ask(config->socket, request, config->timeout_seconds);
  // A namespace that goes is released when the agent sees that it has gone, too.
  if (command == "DEL") return done;
  const std::string pod = request.ns + "/" + request.name;
  if (!answer || answer->verdict == CniAnswer::Verdict::kUnknown) {
    const std::string why = must_wait(*config, request.ns, read_file(config->namespaces_file));
    return why.empty() ? done : hold(version, config->socket, pod, why, answer);
  }
  if (answer->verdict == CniAnswer::Verdict::kRefused)
    return fail(version, kNotCaptured, "weft-agent cannot capture " + pod + ": " + answer->error);
  return done;
}

}  // namespace weft::agent
