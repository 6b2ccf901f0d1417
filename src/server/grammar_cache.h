// Compiled grammars by what they were compiled from: an agent sends the same tools and schemas every turn.
#pragma once

#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <unordered_map>

#include "base/result.h"
#include "grammar/grammar.h"

namespace lapidary::server {

class GrammarCache {
 public:
  explicit GrammarCache(size_t entries_max) : entries_max_(entries_max) {}

  // Any thread. key: all that compile depends on.
  Result<GrammarPtr> get(const std::string& key, const std::function<Result<GrammarPtr>()>& compile);

 private:
  using Entry = std::pair<std::string, GrammarPtr>;

  size_t entries_max_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // latest first
  std::unordered_map<std::string, std::list<Entry>::iterator> places_;
};

}  // namespace lapidary::server
