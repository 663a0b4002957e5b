// Last good versions, duplicates and deletion.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

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
    note(store_.update(std::move(changes)));
  }
  void remove(const std::string& file) {
    Store::Changes changes;
    changes.emplace(file, std::nullopt);
    note(store_.update(std::move(changes)));
  }
  // "+one -two ~three": what the last step says that came, went and is another.
  void note(const std::vector<ObjectChange>& changes) {
    said_.clear();
    for (const ObjectChange& change : changes) {
      const char* const sign = change.before == nullptr ? "+" : change.now == nullptr ? "-" : "~";
      str_append(&said_, said_.empty() ? "" : " ", sign, change.key.name);
      for (const Object* object : {change.before, change.now}) {
        if (object != nullptr) EXPECT_EQ(key_of(*object), change.key);
      }
      EXPECT_EQ(change.now,
                store_.objects().contains(change.key) ? store_.objects().at(change.key) : nullptr);
    }
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
  std::string said_;
};

TEST_F(StoreTest, AStepSaysWhichObjectsAreOthers) {
  write("a.yaml", service("one", "10.0.0.1") + service("two", "10.0.0.2"));
  EXPECT_EQ(said_, "+one +two");
  write("a.yaml", service("one", "10.0.0.11"));
  EXPECT_EQ(said_, "~one -two");
  // Nothing is in force but what was.
  write("b.yaml", service("one", "10.0.0.3"));
  EXPECT_EQ(said_, "");
  EXPECT_EQ(store_.findings().size(), 1U) << "of the duplicate";
  remove("a.yaml");
  EXPECT_EQ(said_, "~one");
  EXPECT_EQ(ip_of("one"), "10.0.0.3");
  EXPECT_THAT(store_.findings(), testing::IsEmpty());
  write("a.yaml", service("one", "10.0.0.4"));
  EXPECT_EQ(said_, "~one") << "the first by path is in force";
  remove("a.yaml");
  remove("b.yaml");
  EXPECT_EQ(said_, "-one");
  EXPECT_TRUE(store_.objects().empty());
}

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

TEST_F(StoreTest, BesideADocumentThatIsTooLargeWhatWasTakenOutIsRemoved) {
  const std::string large = str_cat(
      "apiVersion: v1\nkind: Service\nmetadata:\n  annotations: {name: no}\n  name: one\n"
      "spec:\n  x: ",
      std::string(kMaxDocumentBytes, 'x'), "\n---\n");
  write("a.yaml", service("one", "10.0.0.1") + service("two", "10.0.0.2"));
  write("a.yaml", large);
  EXPECT_EQ(ip_of("one"), "10.0.0.1") << "the last good version";
  EXPECT_EQ(ip_of("two"), "");
  ASSERT_EQ(store_.findings().size(), 1U);
  EXPECT_EQ(store_.findings()[0].code, "WF0022");
  EXPECT_EQ(store_.findings()[0].object, "Service default/one");
}

TEST_F(StoreTest, BesideADocumentThatIsTooLargeAndHasNoNameAllStays) {
  write("a.yaml", service("one", "10.0.0.1") + service("two", "10.0.0.2"));
  write("a.yaml", str_cat("x: ", std::string(kMaxDocumentBytes, 'x'), "\n"));
  EXPECT_EQ(ip_of("one"), "10.0.0.1");
  EXPECT_EQ(ip_of("two"), "10.0.0.2");
}

// As the folder's control plane does: one FileVersions for each file.
class FileVersionsTest : public StoreTest {
 protected:
  ParsedFile parse(std::string_view text) { return versions_.parse("a.yaml", text); }
  // How many objects were parsed.
  size_t write(std::string_view text) {
    ParsedFile parsed = parse(text);
    const size_t made = parsed.objects.size();
    Store::Changes changes;
    changes.emplace("a.yaml", std::move(parsed));
    store_.update(std::move(changes));
    return made;
  }
  FileVersions versions_;
};

TEST_F(FileVersionsTest, ADocumentThatIsAsItWasIsNotParsedAgainAndStaysTheSame) {
  EXPECT_EQ(write(service("one", "10.0.0.1") + service("two", "10.0.0.2")), 2U);
  const uint64_t one = revision_of("one"), two = revision_of("two");
  EXPECT_EQ(write(service("one", "10.0.0.1") + service("two", "10.0.0.3")), 1U);
  EXPECT_EQ(revision_of("one"), one);
  EXPECT_GT(revision_of("two"), two);
  EXPECT_EQ(ip_of("two"), "10.0.0.3");
  EXPECT_EQ(write(service("one", "10.0.0.1")), 0U);
  EXPECT_EQ(ip_of("one"), "10.0.0.1");
  EXPECT_EQ(ip_of("two"), "");
  EXPECT_EQ(write(service("one", "10.0.0.1") + service("two", "10.0.0.3")), 1U);
  EXPECT_EQ(ip_of("two"), "10.0.0.3");
}

TEST_F(FileVersionsTest, ADocumentOnAnotherLineIsParsedAgainForItsLineIsSaid) {
  write(service("one", "10.0.0.1"));
  EXPECT_EQ(write("# moved\n---\n" + service("one", "10.0.0.1")), 1U);
  EXPECT_EQ(meta_of(*store_.objects().at(ObjectKey{"Service", "default", "one"})).line, 3U);
}

TEST_F(FileVersionsTest, FindingsAndRefusalsOfDocumentsThatAreAsTheyWereStay) {
  write(service("one", "10.0.0.1") + service("two", "10.0.0.2"));
  write(service("one", "bad") + service("two", "10.0.0.2"));
  EXPECT_EQ(write(service("one", "bad") + service("two", "10.0.0.3")), 1U);
  EXPECT_EQ(ip_of("one"), "10.0.0.1");
  EXPECT_EQ(ip_of("two"), "10.0.0.3");
  EXPECT_EQ(store_.findings().size(), 1U);
  const std::string broken = service("one", "10.0.0.4") + "x: [\n---\n";
  write(broken);
  EXPECT_EQ(write(broken + service("three", "10.0.0.5")), 1U);
  EXPECT_EQ(ip_of("one"), "10.0.0.4");
  EXPECT_EQ(ip_of("two"), "10.0.0.3") << "something of the file could not be read";
  EXPECT_EQ(store_.findings().size(), 1U);
}

TEST_F(FileVersionsTest, OfTwoDocumentsForOneObjectTheOneThatIsLeftIsInForce) {
  write(service("one", "10.0.0.1") + service("one", "10.0.0.2"));
  EXPECT_EQ(ip_of("one"), "10.0.0.1");
  EXPECT_EQ(store_.findings().size(), 1U);
  write(service("two", "10.0.0.9") + service("one", "10.0.0.2"));
  EXPECT_EQ(ip_of("one"), "10.0.0.2");
  EXPECT_TRUE(store_.findings().empty());
}

// Whatever is edited, the store holds what it would hold without the memory.
TEST_F(FileVersionsTest, TheResultIsThatOfParsingEverything) {
  std::minstd_rand random(17);
  Store plain;
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (int i = 0; i < 4; ++i) {
      const uint32_t kind = static_cast<uint32_t>(random() % 8);
      const std::string name = str_cat("s", random() % 3);
      if (kind < 5) text += service(name, str_cat("10.0.0.", 1 + random() % 2));
      if (kind == 5) text += service(name, "bad");
      if (kind == 6) text += "x: [\n---\n";
    }
    write(text);
    Store::Changes changes;
    changes.emplace("a.yaml", parse_file("a.yaml", text));
    plain.update(std::move(changes));
    const auto said = [](const Store& store) {
      std::vector<std::string> out;
      for (const auto& [key, object] : store.objects())
        out.push_back(str_cat(key.to_string(), " ", meta_of(*object).line, " ",
                              std::get<Service>(*object).cluster_ips.at(0)));
      for (const Finding& finding : store.findings()) out.push_back(to_string(finding));
      std::sort(out.begin(), out.end());
      return out;
    };
    ASSERT_EQ(said(store_), said(plain)) << "round " << round << ":\n" << text;
  }
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
