// Kubeconfig files and what is mounted into a pod: what is read, and what a wrong one is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/strings.h"
#include "control-plane/kubernetes/api_access.h"
#include "tests/unit/base/scratch_folder.h"

namespace weft::control_plane {
namespace {

using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

class AccessTest : public testing::Test {
 protected:
  void TearDown() override {
    ::unsetenv("KUBERNETES_SERVICE_HOST");
    ::unsetenv("KUBERNETES_SERVICE_PORT");
  }
  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ + "/" + name, std::ios::trunc) << text;
    return folder_ + "/" + name;
  }
  // A kubeconfig with one cluster and one user, whose fields are given.
  std::string config(const std::string& cluster, const std::string& user) {
    return write("config",
                 "apiVersion: v1\nkind: Config\ncurrent-context: main\n"
                 "contexts: [{name: main, context: {cluster: c, user: u}}]\n"
                 "clusters: [{name: c, cluster: {" +
                     cluster +
                     "}}]\n"
                     "users: [{name: u, user: {" +
                     user + "}}]\n");
  }
  std::string error_of(const std::string& path, const std::string& context = "") {
    return read_kubeconfig(path, context).status().ToString();
  }

  const ::weft::test::ScratchFolder scratch_;
  std::string folder_ = scratch_.path();
};

TEST_F(AccessTest, FilesAreRelativeToTheKubeconfigAndDataIsDecoded) {
  write("ca.pem", "CA");
  write("key.pem", "KEY");
  const std::string path = config("server: 'https://api:6443/', certificate-authority: ca.pem",
                                  "client-certificate-data: Q0VSVA==, client-key: key.pem");
  const auto access = read_kubeconfig(path);
  ASSERT_TRUE(access.ok()) << access.status();
  EXPECT_EQ(access->server, "https://api:6443");
  EXPECT_EQ(access->authority.file, folder_ + "/ca.pem");
  EXPECT_EQ(access->certificate.text, "CERT");
  EXPECT_EQ(access->key.file, folder_ + "/key.pem");
  EXPECT_TRUE(access->verify);
}

TEST_F(AccessTest, AnotherContextMayBeAskedFor) {
  const std::string path =
      write("config",
            R"({"current-context": "a", "contexts": [{"name": "a", "context": {"cluster": "a", "user": "u"}},
         {"name": "b", "context": {"cluster": "b", "user": "u"}}],
         "clusters": [{"name": "a", "cluster": {"server": "https://a"}},
                      {"name": "b", "cluster": {"server": "https://b", "insecure-skip-tls-verify": true}}],
         "users": [{"name": "u", "user": {"token": "t"}}]})");
  EXPECT_EQ(read_kubeconfig(path)->server, "https://a");
  EXPECT_EQ(read_kubeconfig(path, "b")->server, "https://b");
  EXPECT_FALSE(read_kubeconfig(path, "b")->verify);
  EXPECT_EQ(*current_token(*read_kubeconfig(path)), "t");
  EXPECT_THAT(error_of(path, "c"), HasSubstr("contexts has no \"c\"; next: kubectl --kubeconfig"));
}

TEST_F(AccessTest, WhatIsWrongIsSaidWithThePlaceAndTheNextStep) {
  EXPECT_THAT(error_of(folder_ + "/missing"), HasSubstr("next: give --kubeconfig a file"));
  EXPECT_THAT(error_of(write("config", "a: [")), HasSubstr("config:2: ")) << "where it ends";
  EXPECT_THAT(error_of(write("config", "clusters: []")), HasSubstr("no current-context"));
  EXPECT_THAT(error_of(config("server: api", "token: t")), HasSubstr("not a https:// address"));
  const std::string in_clear = error_of(config("server: 'http://api:8080'", "token: hidden"));
  EXPECT_THAT(in_clear, HasSubstr("clusters[].cluster.server: http:// would show"));
  EXPECT_THAT(in_clear, Not(HasSubstr("hidden")));
  EXPECT_THAT(error_of(config("server: 'https://a', certificate-authority: gone.pem", "token: t")),
              HasSubstr("gone.pem cannot be read"));
  EXPECT_THAT(error_of(config("server: 'https://a', certificate-authority-data: '%'", "token: t")),
              HasSubstr("not base64"));
  EXPECT_THAT(error_of(config("server: 'https://a'", "client-certificate-data: Q0VSVA==")),
              HasSubstr("client-key go together"));
}

TEST_F(AccessTest, WithoutTlsOnlyLoopbackIsSpokenTo) {
  for (const char* server : {"http://127.0.0.1:8001", "http://127.9.9.9", "http://[::1]:8001/prefix",
                             "http://localhost:8001", "http://localhost"}) {
    const auto access = read_kubeconfig(config(str_cat("server: '", server, "'"), "token: t"));
    ASSERT_TRUE(access.ok()) << access.status();
    EXPECT_EQ(access->server, server);
  }
  for (const char* server : {"http://10.0.0.1:8001", "http://[fd00::1]:8001", "http://localhost.example",
                             "http://127.0.0.1.example:8001", "http://[", "http://?127.0.0.1"}) {
    EXPECT_THAT(error_of(config(str_cat("server: '", server, "'"), "token: t")), HasSubstr("use https://"))
        << server;
  }
}

TEST_F(AccessTest, AUserInTheAddressIsRefusedAndNotShown) {
  const std::string error = error_of(config("server: 'https://me:hidden@api:6443'", "token: t"));
  EXPECT_THAT(error, HasSubstr("a user in the address is not supported"));
  EXPECT_THAT(error, Not(HasSubstr("hidden")));
  EXPECT_FALSE(read_kubeconfig(config("server: 'http://127.0.0.1@api'", "token: t")).ok());
}

TEST_F(AccessTest, APemFileIsReadEachTimeAndTextNeedsNone) {
  EXPECT_EQ(*current_pem({}), "");
  EXPECT_EQ(*current_pem({.file = "", .text = "PEM"}), "PEM");
  const PemSource pem{.file = write("ca.pem", "old"), .text = ""};
  EXPECT_EQ(*current_pem(pem), "old");
  write("ca.pem", "new");
  EXPECT_EQ(*current_pem(pem), "new");
  write("ca.pem", "");
  EXPECT_THAT(current_pem(pem).status().ToString(), HasSubstr("ca.pem is empty"));
  fs::remove(pem.file);
  EXPECT_THAT(current_pem(pem).status().ToString(), HasSubstr("next: check that it is there"));
}

TEST_F(AccessTest, WaysToAuthenticateThatAreNotKnownAreRefusedByNameAndWithoutSecrets) {
  EXPECT_THAT(error_of(config("server: 'https://a'", "exec: {command: aws}")),
              HasSubstr("users[].user.exec is not"));
  EXPECT_THAT(error_of(config("server: 'https://a'", "auth-provider: {name: x}")),
              HasSubstr("auth-provider"));
  const std::string error = error_of(config("server: 'https://a'", "username: me, password: hidden"));
  EXPECT_THAT(error, HasSubstr("username"));
  EXPECT_THAT(error, Not(HasSubstr("hidden")));
}

TEST_F(AccessTest, InAPodTheEnvironmentAndTheMountedFilesSayAll) {
  EXPECT_THAT(in_cluster_access(folder_).status().ToString(), HasSubstr("give --kubeconfig FILE"));
  ::setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1", 1);
  ::setenv("KUBERNETES_SERVICE_PORT", "443", 1);
  EXPECT_THAT(in_cluster_access(folder_).status().ToString(), HasSubstr("automountServiceAccountToken"));
  write("ca.crt", "CA");
  write("token", "abc\n");
  const auto access = in_cluster_access(folder_);
  ASSERT_TRUE(access.ok()) << access.status();
  EXPECT_EQ(access->server, "https://10.96.0.1:443");
  EXPECT_EQ(*current_token(*access), "abc");
  write("token", "def\n");
  EXPECT_EQ(*current_token(*access), "def");
  ::setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
  EXPECT_EQ(in_cluster_access(folder_)->server, "https://[fd00::1]:443");
}

TEST_F(AccessTest, ATokenFileThatHoldsNoTokenIsAnErrorWithoutItsContent) {
  ApiAccess access{.token_file = write("token", " \n")};
  EXPECT_THAT(current_token(access).status().ToString(), HasSubstr("is empty"));
  write("token", "abc\r\nX-Header: 1\n");
  EXPECT_THAT(current_token(access).status().ToString(), HasSubstr("holds more than a token"));
  EXPECT_THAT(current_token(access).status().ToString(), Not(HasSubstr("abc")));
  access.token_file = folder_ + "/gone";
  EXPECT_THAT(current_token(access).status().ToString(), HasSubstr("check that the token is mounted"));
}

}  // namespace
}  // namespace weft::control_plane
