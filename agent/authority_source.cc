// See authority_source.h.
#include "agent/authority_source.h"

#include <unistd.h>

#include <filesystem>
#include <memory>
#include <utility>

#include "agent/run_dir.h"
#include "base/status_macros.h"
#include "control-plane/remote/node_certificate.h"

namespace weft::agent {
namespace {

std::string not_empty(const std::string& text) { return text.empty() ? "names nothing" : ""; }

std::string node_dir_of(const AuthorityFlags& flags, const std::string& run_dir) {
  return flags.node_dir.empty() ? default_node_dir(run_dir) : flags.node_dir;
}

// What was there before is reported too.
void report_too(std::function<std::vector<std::string>()> problems, Agent::Parts& parts) {
  parts.source_report = [before = std::move(parts.source_report), problems = std::move(problems)] {
    control_plane::SourceReport out = before ? before() : control_plane::SourceReport();
    for (std::string& each : problems()) out.problems.push_back(std::move(each));
    return out;
  };
}

void add_istio_options(CLI::App& app, CLI::Option* ca_dir, control_plane::ControlAccess& istio) {
  CLI::Option* const address =
      app.add_option("--ca-address", istio.target,
                     "HOST:PORT of an istiod, which signs the certificates of this node's pods")
          ->check(not_empty)
          ->excludes(ca_dir);
  CLI::Option* const root =
      app.add_option("--ca-root", istio.authority_file,
                     "PEM file: who signed istiod's certificate; read anew for each call")
          ->check(not_empty)
          ->needs(address);
  CLI::Option* const token =
      app.add_option("--ca-token", istio.token_file,
                     "file of the ServiceAccount token (audience istio-ca) that istiod is shown; read anew "
                     "for each call")
          ->check(not_empty)
          ->needs(address);
  address->needs(root)->needs(token);
  app.add_option("--ca-cluster-id", istio.cluster_id, "what istiod calls the cluster that the token is of")
      ->capture_default_str()
      ->needs(address);
  app.add_option("--ca-server-name", istio.server_name,
                 "name in istiod's certificate (default: the HOST; usually istiod.istio-system.svc)")
      ->needs(address);
}

}  // namespace

ControlOptions add_control_options(CLI::App& app, const std::vector<CLI::Option*>& sources,
                                   control_plane::ControlAccess& access) {
  CLI::Option* const target =
      app.add_option("--control-plane", access.target,
                     "HOST:PORT of weft-control, which tells the configuration and signs certificates")
          ->check(not_empty);
  for (CLI::Option* const source : sources) target->excludes(source);
  CLI::Option* const authority =
      app.add_option("--control-ca", access.authority_file,
                     "PEM file: who signed weft-control's certificate; read anew for each connection")
          ->check(not_empty)
          ->needs(target);
  target->needs(authority);
  CLI::Option* const token =
      app.add_option("--control-token", access.token_file,
                     "file of the ServiceAccount token that weft-control is shown; read anew for each call")
          ->check(not_empty)
          ->needs(target);
  CLI::Option* const certificate = app.add_option("--control-cert", access.certificate_file,
                                                  "PEM file of a client certificate, instead of a token")
                                       ->check(not_empty)
                                       ->needs(target);
  CLI::Option* const key = app.add_option("--control-key", access.key_file, "PEM file of its key")
                               ->check(not_empty)
                               ->needs(certificate);
  certificate->needs(key);
  app.add_option("--control-server-name", access.server_name,
                 "name in weft-control's certificate (default: the HOST)")
      ->needs(target);
  return {.target = target, .proofs = {token, certificate}};
}

void add_authority_options(CLI::App& app, CLI::Option* control, const std::vector<CLI::Option*>& others,
                           CLI::Option* ca_dir, AuthorityFlags& flags) {
  add_istio_options(app, ca_dir, flags.istio);
  CLI::Option* const token =
      app.add_option("--join-token-file", flags.join_token_file,
                     "file (mode 0600) of what `weft join-token create` printed on weft-control's machine: "
                     "this machine becomes a node by it, once, and needs no Kubernetes")
          ->check(not_empty)
          ->needs(control);
  for (CLI::Option* other : others) token->excludes(other);
  app.add_option("--node-dir", flags.node_dir,
                 "folder of this node's own certificate, once it has joined (default: /var/lib/weft/node; "
                 "node in the run dir when that is another one)");
}

void use_istio(const AuthorityFlags& flags, Agent::Parts& parts) {
  const auto istio = std::make_shared<control_plane::IstioAuthority>(flags.istio);
  parts.sign_elsewhere = [istio](const std::string& pem, const control_plane::CertificateRequest& request,
                                 absl::Duration lifetime,
                                 absl::Time now) { return istio->sign(pem, request, lifetime, now); };
  parts.signs_for_gateways = false;
  report_too([istio] { return istio->problems(); }, parts);
}

std::string node_certificate_file(const AuthorityFlags& flags, const std::string& run_dir) {
  return node_dir_of(flags, run_dir) + "/node.pem";
}

absl::Status join(const AuthorityFlags& flags, const control_plane::ControlAccess& access,
                  const std::string& node_name, const std::string& run_dir, std::function<bool()> give_up,
                  Agent::Parts& parts) {
  ASSIGN_OR_RETURN(std::unique_ptr<control_plane::NodeCertificate> opened,
                   control_plane::NodeCertificate::open({.access = {.target = access.target,
                                                                    .authority_file = access.authority_file,
                                                                    .server_name = access.server_name},
                                                         .node_name = node_name,
                                                         .token_file = flags.join_token_file,
                                                         .folder = node_dir_of(flags, run_dir),
                                                         .give_up = std::move(give_up)}));
  report_too([certificate = std::shared_ptr<control_plane::NodeCertificate>(
                  std::move(opened))] { return certificate->problems(); },
             parts);
  return absl::OkStatus();
}

void leave(const AuthorityFlags& flags, const std::string& run_dir) {
  ::unlink(node_certificate_file(flags, run_dir).c_str());
  ::rmdir(node_dir_of(flags, run_dir).c_str());
}

}  // namespace weft::agent
