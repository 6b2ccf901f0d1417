#include "server/grammar_cache.h"

namespace lapidary::server {

Result<GrammarPtr> GrammarCache::get(const std::string& key, const std::function<Result<GrammarPtr>()>& compile) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto place = places_.find(key); place != places_.end()) {
      entries_.splice(entries_.begin(), entries_, place->second);
      return entries_.front().second;
    }
  }
  // Two threads may compile the same at once; one of the results stays.
  ASSIGN_OR_RETURN(GrammarPtr grammar, compile());
  const std::lock_guard lock(mutex_);
  if (places_.contains(key)) return grammar;
  entries_.emplace_front(key, grammar);
  places_[key] = entries_.begin();
  if (entries_.size() > entries_max_) {
    places_.erase(entries_.back().first);
    entries_.pop_back();
  }
  return grammar;
}

}  // namespace lapidary::server
