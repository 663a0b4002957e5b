// Last good versions, duplicates and deletion.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "control-plane/resource/store.h"

namespace weft::control_plane {
namespace {

std::string service(std::string_view name, std::string_view ip) {
  return str_cat("apiVersion: v1\nkind: Service\nmetadata: {name: ", name, "}\nspec: {clusterIP: ", ip,
                 ", ports: [{port: 80}]}\n---\n");
}

class StoreTest : public testing::Test {
 protected:
  void write(const std::string& file, std::string_view text) {
    Store::Changes changes;
    changes.emplace(file, parse_file(file, text));
    store_.update(std::move(changes));
  }
  void remove(const std::string& file) {
    Store::Changes changes;
    changes.emplace(file, std::nullopt);
    store_.update(std::move(changes));
  }
  // The cluster IP in force; empty: no such service.
  std::string ip_of(const std::string& name) const {
    const auto found = store_.objects().find(ObjectKey{"Service", "default", name});
    return found == store_.objects().end() ? "" : std::get<Service>(*found->second).cluster_ips.at(0);
  }
  uint64_t revision_of(const std::string& name) const {
    return meta_of(*store_.objects().at(ObjectKey{"Service", "default", name})).revision;
  }
  Store store_;
};

TEST_F(StoreTest, AnObjectKeepsItsRevisionWhileItStays) {
  write("a.yaml", service("one", "10.0.0.1"));
  write("b.yaml", service("two", "10.0.0.2"));
  const uint64_t one = revision_of("one"), two = revision_of("two");
  EXPECT_NE(one, 0U);
  EXPECT_NE(one, two);
  write("b.yaml", service("two", "10.0.0.3"));
  EXPECT_EQ(revision_of("one"), one);
  EXPECT_GT(revision_of("two"), two);
  // The last good version is the same object still, in another file too.
  write("a.yaml", service("one", "not-an-ip"));
  EXPECT_EQ(revision_of("one"), one);
  remove("a.yaml");
  write("a.yaml", service("one", "10.0.0.1"));
  EXPECT_GT(revision_of("one"), two);
}

TEST_F(StoreTest, ARefusedDocumentLeavesItsLastGoodVersionAndTheRestMovesOn) {
  write("a.yaml", service("one", "10.0.0.1") + service("two", "10.0.0.2"));
  write("a.yaml", service("one", "not-an-ip") + service("two", "10.0.0.22"));
  EXPECT_EQ(ip_of("one"), "10.0.0.1");
  EXPECT_EQ(ip_of("two"), "10.0.0.22");
  EXPECT_EQ(store_.findings().size(), 1U);
}

TEST_F(StoreTest, ASyntaxErrorKeepsEverythingThatTheFileHeld) {
  write("a.yaml", service("one", "10.0.0.1") + service("two", "10.0.0.2"));
  write("a.yaml", service("two", "10.0.0.22") + "x: [\n");
  EXPECT_EQ(ip_of("one"), "10.0.0.1");
  EXPECT_EQ(ip_of("two"), "10.0.0.22");
}

TEST_F(StoreTest, ADocumentTakenOutOfAGoodFileIsRemoved) {
  write("a.yaml", service("one", "10.0.0.1") + service("two", "10.0.0.2"));
  write("a.yaml", service("two", "10.0.0.2"));
  EXPECT_EQ(ip_of("one"), "");
}

TEST_F(StoreTest, ADeletedFileRemovesItsObjectsAndFindings) {
  write("a.yaml", service("one", "10.0.0.1") + service("two", "bad"));
  remove("a.yaml");
  EXPECT_TRUE(store_.objects().empty());
  EXPECT_TRUE(store_.findings().empty());
}

TEST_F(StoreTest, TheFirstFileByPathWinsADuplicate) {
  write("b.yaml", service("one", "10.0.0.2"));
  write("a.yaml", service("one", "10.0.0.1"));
  EXPECT_EQ(ip_of("one"), "10.0.0.1");
  ASSERT_EQ(store_.findings().size(), 1U);
  EXPECT_EQ(store_.findings()[0].code, "WF0029");
  EXPECT_EQ(store_.findings()[0].file, "b.yaml");
  remove("a.yaml");
  EXPECT_EQ(ip_of("one"), "10.0.0.2");
  EXPECT_TRUE(store_.findings().empty());
}

TEST_F(StoreTest, ARenameWithAMistakeKeepsTheLastGoodVersion) {
  write("a.yaml", service("one", "10.0.0.1"));
  Store::Changes changes;
  changes.emplace("a.yaml", std::nullopt);
  changes.emplace("b.yaml", parse_file("b.yaml", service("one", "bad")));
  store_.update(std::move(changes));
  EXPECT_EQ(ip_of("one"), "10.0.0.1");
}

TEST_F(StoreTest, ANewRefusedObjectIsNotInForce) {
  write("a.yaml", service("one", "bad"));
  EXPECT_TRUE(store_.objects().empty());
}

}  // namespace
}  // namespace weft::control_plane
