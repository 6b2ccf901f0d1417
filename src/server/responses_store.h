// Responses that may be asked for again, or gone on from: kept in memory, bounded by their bytes and their age.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "server/answer.h"

namespace lapidary::server {

// Items of a conversation. A response's are shared by all that go on from it, and count once.
struct ResponseItems {
  explicit ResponseItems(Json list);
  Json items;  // a list
  int64_t bytes;
};
using ResponseItemsPtr = std::shared_ptr<const ResponseItems>;

// How a response grew, for those who want to see it again: each step takes the next `bytes` of its item's text.
struct ResponseStep {
  enum class Kind : uint8_t { kInProgress, kThought, kText, kCallBegun, kArguments, kCallEnded };
  Kind kind = Kind::kText;
  uint32_t bytes = 0, logprobs = 0;
};

struct StoredResponse {
  Json response;                        // its output is empty here:
  ResponseItemsPtr output;              // it stands here
  std::vector<ResponseItemsPtr> input;  // what earlier responses had and said, then its own
  std::vector<ResponseStep> steps;

  Json whole() const;  // the response with its output
};

class ResponsesStore {
 public:
  // bytes_max 0: nothing is kept.
  ResponsesStore(int64_t bytes_max, double seconds_max) : bytes_max_(bytes_max), seconds_max_(seconds_max) {}

  bool keeps() const { return bytes_max_ > 0; }
  // Whether it could hold that much at all.
  bool has_room(int64_t bytes) const { return bytes < bytes_max_; }

  // Any thread. A response that is larger than the whole store is not kept.
  void put(const std::string& id, StoredResponse response, Clock::time_point now = Clock::now());
  // nullptr: unknown, erased, pushed out or too old.
  std::shared_ptr<const StoredResponse> find(const std::string& id, Clock::time_point now = Clock::now());
  bool erase(const std::string& id);
  // An item of any response that is kept.
  std::optional<Json> find_item(const std::string& id, Clock::time_point now = Clock::now());

  // Of a response that is being made: how it looks, and who makes it.
  void begin(const std::string& id, Json in_progress);
  void attach(const std::string& id, std::weak_ptr<Answer> answer);
  void end(const std::string& id);
  struct Running {
    Json response;
    std::weak_ptr<Answer> answer;
  };
  std::optional<Running> running(const std::string& id) const;

  int64_t bytes() const;

 private:
  struct Entry {
    std::string id;
    std::shared_ptr<const StoredResponse> response;
    int64_t bytes = 0;  // without items
    Clock::time_point since;
  };
  struct Held {
    int64_t holders = 0;
    ResponseItemsPtr items;
  };

  void hold(const ResponseItemsPtr& items);
  void release(const ResponseItemsPtr& items);
  void drop(std::list<Entry>::iterator entry);
  void drop_old(Clock::time_point now);
  bool is_old(const Entry& entry, Clock::time_point now) const;

  const int64_t bytes_max_;
  const double seconds_max_;
  mutable std::mutex mutex_;  // guards those below
  int64_t bytes_ = 0;
  std::list<Entry> entries_;  // latest used first
  std::unordered_map<std::string, std::list<Entry>::iterator> places_;
  std::unordered_map<const ResponseItems*, Held> held_;
  std::unordered_map<std::string, std::pair<const ResponseItems*, size_t>> items_;  // by id
  std::unordered_map<std::string, Running> running_;
  Clock::time_point swept_{};
};

// What a value takes in memory, about.
int64_t memory_bytes(const Json& value);

}  // namespace lapidary::server
