// See file_secrets.h.
#include "control-plane/file_secrets.h"

#include "control-plane/resource/certificate_paths.h"
#include "control-plane/resource/finding_codes.h"
#include "control-plane/resource/parse_object.h"

namespace weft::control_plane {
namespace {

// Where files of manifests have their path.
constexpr char kPlace[] = "--certificate-files";

std::set<std::pair<std::string, std::string>> named_by(const Objects& objects) {
  std::set<std::pair<std::string, std::string>> out;
  const auto add = [&out](const std::string& ns, const std::string& name) {
    if (CertificatePaths::of(name)) out.emplace(ns, name);
  };
  for_each<DestinationRule>(objects, [&add](const DestinationRule& rule) {
    for (const DestinationRule::TlsUse& use : rule.tls) add(rule.meta.ns, use.tls.credential_name());
  });
  for_each<Gateway>(objects, [&add](const Gateway& gateway) {
    for (const Gateway::Listener& listener : gateway.listeners) {
      if (!listener.tls) continue;
      for (const TlsTermination::SecretRef& ref : listener.tls->certificates) add(ref.ns, ref.name);
      if (listener.tls->ca) add(listener.tls->ca->ns, listener.tls->ca->name);
    }
  });
  return out;
}

Secret make_secret(const std::pair<std::string, std::string>& name,
                   const std::vector<CertificateFiles::File>& contents) {
  Secret out{.meta = {.kind = "Secret", .ns = name.first, .name = name.second, .file = kPlace},
             .certificate = contents[0].text,
             .key = contents[1].text,
             .ca = contents[2].text,
             .crl = contents[3].text};
  return out;
}

// Never quotes what a file says.
Finding finding(const std::string& object, std::string message, std::string remedy) {
  return {kTlsNotEnded, Finding::Level::kWarning, kPlace,           0, object,
          "",           std::move(message),       std::move(remedy)};
}

void parse(const std::pair<std::string, std::string>& name,
           const std::vector<CertificateFiles::File>& contents, ParsedFile& out) {
  const std::string object = secret_text(name.first, name.second);
  bool complete = true;
  for (const CertificateFiles::File& file : contents) {
    complete = complete && (file.problem.empty() || !file.text.empty());
    if (!file.problem.empty())
      out.findings.push_back(
          finding(object, file.problem, "correct the path, the file or --certificate-files"));
  }
  Secret secret = make_secret(name, contents);
  const std::vector<SecretFault> faults = complete ? faults_of(secret) : std::vector<SecretFault>();
  for (const SecretFault& fault : faults)
    out.findings.push_back(finding(object, fault.message, fault.remedy));
  if (complete && faults.empty())
    out.objects.emplace_back(std::move(secret));
  else
    out.refused.push_back({"Secret", name.first, name.second});
}

}  // namespace

std::optional<Store::Changes> FileSecrets::update(const Objects& objects) {
  const auto names = named_by(objects);
  std::set<std::string> paths;
  for (const auto& [ns, name] : names) {
    const CertificatePaths files = *CertificatePaths::of(name);
    for (const std::string* path : {&files.certificate, &files.key, &files.ca, &files.crl}) {
      if (!path->empty()) paths.insert(*path);
    }
  }
  const CertificateFiles::Files read = files_->want(paths);
  std::map<Name, Contents> now;
  for (const Name& name : names) {
    const CertificatePaths files = *CertificatePaths::of(name.second);
    Contents& contents = now[name];
    for (const std::string* path : {&files.certificate, &files.key, &files.ca, &files.crl})
      contents.push_back(path->empty() ? CertificateFiles::File() : read.at(*path));
  }
  if (now == told_) return std::nullopt;
  ParsedFile file;
  for (const auto& [name, contents] : now) parse(name, contents, file);
  told_ = std::move(now);
  Store::Changes changes;
  changes.emplace(kPlace, std::move(file));
  return changes;
}

}  // namespace weft::control_plane
