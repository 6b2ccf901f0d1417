#include "server/responses_store.h"

#include <gtest/gtest.h>

namespace lapidary::server {
namespace {

using std::chrono::seconds;

ResponseItemsPtr items(const std::string& id, size_t characters) {
  return std::make_shared<const ResponseItems>(
      Json::array({{{"id", id}, {"type", "message"}, {"content", std::string(characters, 'x')}}}));
}

StoredResponse response(const std::string& id, std::vector<ResponseItemsPtr> input, ResponseItemsPtr output = nullptr) {
  return {{{"id", id}, {"output", Json::array()}}, std::move(output), std::move(input), {}};
}

TEST(ResponsesStore, ReturnsWhatWasPut) {
  ResponsesStore store(1 << 20, 3600);
  store.put("resp_1", response("resp_1", {items("msg_1", 10)}, items("msg_2", 20)));
  const auto found = store.find("resp_1");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->whole()["output"][0]["id"], "msg_2");
  EXPECT_EQ(store.find_item("msg_1")->at("content"), std::string(10, 'x'));
  EXPECT_EQ(store.find_item("msg_2")->at("content"), std::string(20, 'x'));
  EXPECT_FALSE(store.find("resp_2"));
  EXPECT_FALSE(store.find_item("msg_3"));
}

TEST(ResponsesStore, ErasingGivesBackEveryByte) {
  ResponsesStore store(1 << 20, 3600);
  store.put("resp_1", response("resp_1", {items("msg_1", 1000)}, items("msg_2", 1000)));
  EXPECT_GT(store.bytes(), 2000);
  EXPECT_TRUE(store.erase("resp_1"));
  EXPECT_FALSE(store.erase("resp_1"));
  EXPECT_EQ(store.bytes(), 0);
  EXPECT_FALSE(store.find_item("msg_1"));
}

TEST(ResponsesStore, SharedItemsCountOnceAndStayAsLongAsOneHoldsThem) {
  ResponsesStore store(1 << 20, 3600);
  const ResponseItemsPtr picture = items("msg_1", 100'000);
  store.put("resp_1", response("resp_1", {picture}));
  const int64_t one = store.bytes();
  store.put("resp_2", response("resp_2", {picture}));
  EXPECT_LT(store.bytes(), one + 10'000);
  store.erase("resp_1");
  EXPECT_TRUE(store.find_item("msg_1"));
  store.erase("resp_2");
  EXPECT_EQ(store.bytes(), 0);
}

TEST(ResponsesStore, TheLongestUnusedGoesFirst) {
  ResponsesStore store(25'000, 3600);
  store.put("a", response("a", {items("ia", 10'000)}));
  store.put("b", response("b", {items("ib", 10'000)}));
  EXPECT_TRUE(store.find("a"));  // used: b is now the oldest
  store.put("c", response("c", {items("ic", 10'000)}));
  EXPECT_TRUE(store.find("a"));
  EXPECT_FALSE(store.find("b"));
  EXPECT_TRUE(store.find("c"));
  EXPECT_LE(store.bytes(), 25'000);
}

TEST(ResponsesStore, WhatIsLargerThanTheStoreIsNotKept) {
  ResponsesStore store(10'000, 3600);
  store.put("a", response("a", {items("ia", 100'000)}));
  EXPECT_FALSE(store.find("a"));
  EXPECT_EQ(store.bytes(), 0);
}

TEST(ResponsesStore, NothingIsKeptWithoutRoom) {
  ResponsesStore store(0, 3600);
  EXPECT_FALSE(store.keeps());
  store.put("a", response("a", {}));
  EXPECT_FALSE(store.find("a"));
}

TEST(ResponsesStore, OldOnesGo) {
  ResponsesStore store(1 << 20, 60);
  const Clock::time_point start = Clock::now();
  store.put("a", response("a", {items("ia", 10)}), start);
  store.put("b", response("b", {items("ib", 10)}), start + seconds(50));
  EXPECT_TRUE(store.find("a", start + seconds(59)));
  EXPECT_FALSE(store.find("a", start + seconds(61)));
  EXPECT_TRUE(store.find("b", start + seconds(61)));
  // Their items too, without anybody asking for the response.
  EXPECT_FALSE(store.find_item("ib", start + seconds(200)));
  EXPECT_EQ(store.bytes(), 0);
}

TEST(ResponsesStore, PuttingTwiceReplaces) {
  ResponsesStore store(1 << 20, 3600);
  store.put("a", response("a", {items("old", 10)}));
  store.put("a", response("a", {items("new", 10)}));
  EXPECT_FALSE(store.find_item("old"));
  EXPECT_TRUE(store.find_item("new"));
  store.erase("a");
  EXPECT_EQ(store.bytes(), 0);
}

TEST(ResponsesStore, KnowsWhatIsBeingMade) {
  ResponsesStore store(1 << 20, 3600);
  store.begin("a", {{"status", "in_progress"}});
  EXPECT_EQ(store.running("a")->response["status"], "in_progress");
  store.end("a");
  EXPECT_FALSE(store.running("a"));
  store.attach("a", {});  // too late: nothing
  EXPECT_FALSE(store.running("a"));
}

}  // namespace
}  // namespace lapidary::server
