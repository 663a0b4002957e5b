// What `weft cert rotate` may do where weft-control holds the authority.
#include "agent/admin/certificate_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using testing::HasSubstr;

TEST(CertificateListTest, WithoutAnAuthorityHereNoRootIsRotatedAndItSaysWhereTheRootIs) {
  control_plane::CertificateService certificates(
      {.sign = [](const auto&, const auto&, absl::Duration, absl::Time)
           -> absl::StatusOr<std::vector<std::string>> { return absl::UnavailableError("away"); },
       .runs_on = [](const auto&, const auto&) { return true; },
       .node_of = control_plane::CertificateService::all_of("node")});
  CertificateList list(nullptr, certificates);
  admin::v1::RotateCertificatesRequest request;
  admin::v1::RotateCertificatesReply reply;
  request.set_root(true);
  const grpc::Status root = list.Rotate(nullptr, &request, &reply);
  EXPECT_EQ(root.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(root.error_message(), HasSubstr("weft-control's folder (--ca-dir"));
  EXPECT_TRUE(certificates.renewals().empty()) << "and no leaf either";

  request.set_root(false);
  EXPECT_TRUE(list.Rotate(nullptr, &request, &reply).ok());
  EXPECT_EQ(certificates.renewals().size(), 1U) << "leaves are";
}

}  // namespace
}  // namespace weft::agent
