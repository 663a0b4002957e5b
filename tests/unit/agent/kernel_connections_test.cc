// Which connections `weft authz shadow` takes from the lists of the node.
#include "agent/admin/kernel_connections.h"

#include <gtest/gtest.h>

#include "base/strings.h"

namespace weft::agent {
namespace {

void add(admin::v1::ConnectionList& list, const char* path, int port) {
  admin::v1::Connection& one = *list.add_connections();
  one.set_path(path);
  one.set_source("shop/web");
  one.set_source_address(str_cat("10.0.0.1:", port));
  one.set_destination("shop/cart");
  one.set_destination_address("10.0.0.2:80");
  list.set_matched(list.matched() + 1);
}

TEST(KernelConnectionsTest, EachIsSeenOnceAndThoseOfAProxyNever) {
  admin::v1::ConnectionList list;
  add(list, "direct", 1001);
  add(list, "inbound", 1001);
  add(list, "inbound", 1002);
  add(list, "upstream", 1002);
  add(list, "inspected", 1003);
  KernelConnections connections;
  const auto first = connections.take_new(list);
  ASSERT_EQ(first.size(), 1U);
  EXPECT_EQ(first[0].client, "shop/web");
  EXPECT_EQ(first[0].server, "shop/cart");
  EXPECT_EQ(first[0].destination.port, 80);
  EXPECT_TRUE(connections.take_new(list).empty()) << "known";
  EXPECT_FALSE(connections.left_out());
}

TEST(KernelConnectionsTest, MoreThanThereIsRoomForAreLeftOutAndItIsSaid) {
  admin::v1::ConnectionList list;
  add(list, "direct", 1001);
  add(list, "upstream", 1002);
  KernelConnections connections(2);
  EXPECT_EQ(connections.take_new(list).size(), 1U);
  EXPECT_TRUE(connections.take_new(list).empty());
  EXPECT_FALSE(connections.left_out()) << "all are known";
  admin::v1::ConnectionList more;
  for (int port = 2000; port < 2010; ++port) add(more, port % 2 == 0 ? "upstream" : "direct", port);
  EXPECT_TRUE(connections.take_new(more).empty()) << "what the proxy carries has no more room than others";
  EXPECT_TRUE(connections.left_out());
}

TEST(KernelConnectionsTest, AListThatHasNotAllIsSaid) {
  admin::v1::ConnectionList list;
  add(list, "direct", 1001);
  list.set_matched(2);
  KernelConnections connections;
  EXPECT_EQ(connections.take_new(list).size(), 1U);
  EXPECT_TRUE(connections.left_out());
}

}  // namespace
}  // namespace weft::agent
