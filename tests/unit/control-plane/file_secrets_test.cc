// Certificates in files of the node: which files are read, what becomes of those that change, and that nobody
// gets others.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "base/strings.h"
#include "control-plane/pipeline.h"
#include "control-plane/source/certificate_files.h"
#include "proto/xds/secret.pb.h"
#include "tests/unit/base/scratch_folder.h"
#include "tests/unit/identity/pki.h"

namespace weft::control_plane {
namespace {

using testing::HasSubstr;

void write(const std::string& path, const std::string& text) {
  const std::string made = path + ".new";
  std::ofstream(made, std::ios::binary) << text;
  std::filesystem::rename(made, path);
}

class FileSecretsTest : public testing::Test {
 protected:
  FileSecretsTest() { std::filesystem::create_directory(folder()); }
  std::string folder() const { return scratch_.file("certs"); }
  std::string at(const char* name) const { return folder() + "/" + name; }

  const test::ScratchFolder scratch_;
};

TEST_F(FileSecretsTest, NothingOutsideOfTheFoldersIsRead) {
  write(scratch_.file("outside"), "secret");
  write(at("inside"), "text");
  std::filesystem::create_directory(at("deep"));
  std::filesystem::create_symlink("../inside", at("deep/link"));
  std::filesystem::create_symlink("../../outside", at("deep/out"));
  std::filesystem::create_symlink(scratch_.file("outside"), at("absolute"));
  std::filesystem::create_symlink("/proc/self/environ", at("magic"));
  const std::vector<std::string> folders{folder() + "/"};
  EXPECT_EQ(read_certificate_file(folders, at("inside")).text, "text");
  EXPECT_EQ(read_certificate_file(folders, at("deep/link")).text, "text");
  for (const std::string& path :
       {at("deep/out"), at("absolute"), at("magic"), at("../outside"), at("deep"), scratch_.file("outside"),
        scratch_.file("certs-of-others"), folder(), at("none")}) {
    const CertificateFiles::File file = read_certificate_file(folders, path);
    EXPECT_EQ(file.text, "") << path;
    EXPECT_THAT(file.problem, HasSubstr(path));
  }
  EXPECT_THAT(read_certificate_file(folders, at("deep/out")).problem, HasSubstr("leads out of"));
  EXPECT_THAT(read_certificate_file(folders, scratch_.file("outside")).problem,
              HasSubstr("--certificate-files"));
  EXPECT_NE(read_certificate_file({}, at("inside")).problem, "");
}

TEST_F(FileSecretsTest, AFifoOrAHugeFileHoldsNobodyUp) {
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  EXPECT_THAT(read_certificate_file({folder()}, at("fifo")).problem, HasSubstr("not a regular file"));
  write(at("huge"), std::string(2 * 1024 * 1024, 'x'));
  EXPECT_THAT(read_certificate_file({folder()}, at("huge")).problem, HasSubstr("limit"));
}

TEST_F(FileSecretsTest, AnEmptyFileIsAProblem) {
  write(at("empty"), "");
  EXPECT_THAT(read_certificate_file({folder()}, at("empty")).problem, HasSubstr("the file is empty"));
}

// What a pipeline says, by name of the Secret.
class Told {
 public:
  void take(const Change& change) {
    const std::lock_guard lock(mutex_);
    for (const Resource& resource : change.upserted) {
      if (resource.type_url() != std::string_view(kSecretType)) continue;
      envoy::extensions::transport_sockets::tls::v3::Secret secret;
      ASSERT_TRUE(resource.decode(&secret));
      secrets_[std::string(resource.name())] = secret;
    }
    for (const auto& [type, name] : change.removed) secrets_.erase(name);
    findings_.clear();
    for (const Finding& finding : change.findings) findings_ += to_string(finding) + "\n";
    came_.notify_all();
  }
  // Until the one Secret has this certificate; its key then.
  std::string key_of(const std::string& certificate) {
    std::unique_lock lock(mutex_);
    std::string key;
    came_.wait_for(lock, std::chrono::seconds(30), [&] {
      for (const auto& [name, secret] : secrets_) {
        if (secret.tls_certificate().certificate_chain().inline_bytes() == certificate)
          key = secret.tls_certificate().private_key().inline_bytes();
      }
      return !key.empty();
    });
    return key;
  }
  bool wait_for_finding(const std::string& words) {
    std::unique_lock lock(mutex_);
    return came_.wait_for(lock, std::chrono::seconds(30),
                          [&] { return findings_.find(words) != std::string::npos; });
  }
  std::string findings() {
    const std::lock_guard lock(mutex_);
    return findings_;
  }
  std::vector<std::string> names() {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> out;
    for (const auto& [name, secret] : secrets_) out.push_back(name);
    return out;
  }

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::map<std::string, envoy::extensions::transport_sockets::tls::v3::Secret> secrets_;
  std::string findings_;
};

struct Pair {
  std::string certificate, key;
};
Pair make_pair() {
  static const test::Authority authority = test::make_authority("public");
  const test::Leaf leaf = test::make_leaf(authority, {.names = {{GEN_DNS, "a.example"}}});
  return {to_pem(leaf.certificate.get()), test::key_pem(leaf.key.get())};
}

void apply_manifest(Pipeline& pipeline, const std::string& manifest) {
  Store::Changes changes;
  changes.emplace("f.yaml", parse_file("f.yaml", manifest));
  pipeline.update(std::move(changes));
}

TEST_F(FileSecretsTest, AFileThatChangesIsUsedAndOneThatIsBrokenIsNot) {
  const Pair first = make_pair(), second = make_pair();
  write(at("a.crt"), first.certificate);
  write(at("a.key"), first.key);
  Told told;
  Pipeline pipeline("node", nullptr, [&told](const Change& change) { told.take(change); }, {folder()});
  apply_manifest(
      pipeline,
      str_cat("apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge, namespace: shop}\n"
              "spec: {servers: [{port: {number: 443, name: tls, protocol: HTTPS}, hosts: [a.example], tls: "
              "{mode: SIMPLE, serverCertificate: ",
              at("a.crt"), ", privateKey: ", at("a.key"), "}}]}\n"));
  EXPECT_EQ(told.key_of(first.certificate), first.key);
  EXPECT_EQ(told.findings().find("files "), std::string::npos) << told.findings();
  // One file after the other: in between it is no pair, and the last good one is in use.
  write(at("a.crt"), second.certificate);
  EXPECT_TRUE(told.wait_for_finding("the key is not that of the certificate"));
  EXPECT_EQ(told.key_of(first.certificate), first.key);
  write(at("a.key"), second.key);
  EXPECT_EQ(told.key_of(second.certificate), second.key);
  std::filesystem::remove(at("a.key"));
  EXPECT_TRUE(told.wait_for_finding(at("a.key")));
  EXPECT_EQ(told.key_of(second.certificate), second.key);
  EXPECT_EQ(told.findings().find("PRIVATE"), std::string::npos);
  write(at("a.key"), "");
  EXPECT_TRUE(told.wait_for_finding(str_cat(at("a.key"), ": the file is empty")));
  EXPECT_EQ(told.key_of(second.certificate), second.key);
  apply_manifest(pipeline, "");
  EXPECT_TRUE(told.names().empty());
}

TEST_F(FileSecretsTest, ADestinationRulesFilesAreASecretOfItsNamespace) {
  const Pair pair = make_pair();
  write(at("c.crt"), pair.certificate);
  write(at("c.key"), pair.key);
  Told told;
  Pipeline pipeline("node", nullptr, [&told](const Change& change) { told.take(change); }, {folder()});
  apply_manifest(
      pipeline,
      str_cat("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r, namespace: "
              "shop}\nspec: {host: x.example, trafficPolicy: {tls: {mode: MUTUAL, clientCertificate: ",
              at("c.crt"), ", privateKey: ", at("c.key"), "}}}\n"));
  EXPECT_EQ(told.key_of(pair.certificate), pair.key);
  EXPECT_THAT(told.names(),
              testing::ElementsAre(str_cat("shop/files:", at("c.crt"), "|", at("c.key"), "||")));
  EXPECT_EQ(told.findings().find("WF0053"), std::string::npos) << told.findings();
}

TEST_F(FileSecretsTest, WithoutAFolderADestinationRuleIsToldWhatToType) {
  Told told;
  Pipeline pipeline("node", nullptr, [&told](const Change& change) { told.take(change); });
  apply_manifest(pipeline,
                 "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r, namespace: "
                 "shop}\nspec: "
                 "{host: x.example, trafficPolicy: {tls: {mode: SIMPLE, caCertificates: /certs/ca.pem}}}\n");
  EXPECT_THAT(told.findings(), HasSubstr("WF0053"));
  EXPECT_THAT(told.findings(), HasSubstr("files /certs/ca.pem are not read"));
  EXPECT_THAT(told.findings(), HasSubstr("--certificate-files"));
}

}  // namespace
}  // namespace weft::control_plane
