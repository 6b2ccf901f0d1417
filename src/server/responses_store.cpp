#include "server/responses_store.h"

#include <algorithm>

namespace lapidary::server {
namespace {

constexpr double kSweepSeconds = 60;
constexpr int64_t kEntryBytes = 512;  // lists, maps and ids

std::string id_of(const Json& item) {
  const auto id = item.find("id");
  return id != item.end() && id->is_string() ? id->get<std::string>() : "";
}

}  // namespace

int64_t memory_bytes(const Json& value) {
  auto bytes = static_cast<int64_t>(sizeof(Json));
  if (value.is_string()) {
    bytes += static_cast<int64_t>(sizeof(std::string) + value.get_ref<const std::string&>().size());
  } else if (value.is_array()) {
    for (const Json& element : value) bytes += memory_bytes(element);
  } else if (value.is_object()) {
    for (const auto& [key, member] : value.items())
      bytes += static_cast<int64_t>(sizeof(std::string) + key.size()) + memory_bytes(member);
  }
  return bytes;
}

ResponseItems::ResponseItems(Json list) : items(std::move(list)), bytes(memory_bytes(items)) {}

Json StoredResponse::whole() const {
  Json all = response;
  all["output"] = output ? output->items : Json::array();
  return all;
}

void ResponsesStore::hold(const ResponseItemsPtr& items) {
  Held& held = held_[items.get()];
  if (held.holders++ > 0) return;
  held.items = items;
  bytes_ += items->bytes;
  for (size_t i = 0; i < items->items.size(); ++i) {
    if (const std::string id = id_of(items->items[i]); !id.empty()) items_[id] = {items.get(), i};
  }
}

void ResponsesStore::release(const ResponseItemsPtr& items) {
  const auto held = held_.find(items.get());
  if (held == held_.end() || --held->second.holders > 0) return;
  bytes_ -= items->bytes;
  for (const Json& item : items->items) {
    const auto place = items_.find(id_of(item));
    if (place != items_.end() && place->second.first == items.get()) items_.erase(place);
  }
  held_.erase(held);
}

void ResponsesStore::drop(std::list<Entry>::iterator entry) {
  bytes_ -= entry->bytes;
  for (const ResponseItemsPtr& items : entry->response->input) release(items);
  if (entry->response->output) release(entry->response->output);
  places_.erase(entry->id);
  entries_.erase(entry);
}

bool ResponsesStore::is_old(const Entry& entry, Clock::time_point now) const {
  return std::chrono::duration<double>(now - entry.since).count() > seconds_max_;
}

// Entries are in the order of their use, not of their age: all are looked at, now and then.
void ResponsesStore::drop_old(Clock::time_point now) {
  if (std::chrono::duration<double>(now - swept_).count() < kSweepSeconds) return;
  swept_ = now;
  for (auto it = entries_.begin(); it != entries_.end();) {
    const auto entry = it++;
    if (is_old(*entry, now)) drop(entry);
  }
}

void ResponsesStore::put(const std::string& id, StoredResponse response, Clock::time_point now) {
  if (!keeps()) return;
  Entry entry{id, nullptr, kEntryBytes + memory_bytes(response.response), now};
  entry.bytes += static_cast<int64_t>(response.steps.size() * sizeof(ResponseStep) + id.size());
  entry.response = std::make_shared<const StoredResponse>(std::move(response));
  const std::lock_guard lock(mutex_);
  drop_old(now);
  if (const auto old = places_.find(id); old != places_.end()) drop(old->second);
  bytes_ += entry.bytes;
  for (const ResponseItemsPtr& items : entry.response->input) hold(items);
  if (entry.response->output) hold(entry.response->output);
  entries_.push_front(std::move(entry));
  places_[id] = entries_.begin();
  while (bytes_ > bytes_max_ && !entries_.empty()) drop(std::prev(entries_.end()));
}

std::shared_ptr<const StoredResponse> ResponsesStore::find(const std::string& id, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  const auto place = places_.find(id);
  if (place == places_.end()) return nullptr;
  if (is_old(*place->second, now)) {
    drop(place->second);
    return nullptr;
  }
  entries_.splice(entries_.begin(), entries_, place->second);
  return place->second->response;
}

bool ResponsesStore::erase(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto place = places_.find(id);
  if (place == places_.end()) return false;
  drop(place->second);
  return true;
}

std::optional<Json> ResponsesStore::find_item(const std::string& id, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  drop_old(now);
  const auto place = items_.find(id);
  if (place == items_.end()) return {};
  return place->second.first->items[place->second.second];
}

void ResponsesStore::begin(const std::string& id, Json in_progress) {
  const std::lock_guard lock(mutex_);
  running_[id] = {std::move(in_progress), {}};
}

void ResponsesStore::attach(const std::string& id, std::weak_ptr<Answer> answer) {
  const std::lock_guard lock(mutex_);
  if (const auto it = running_.find(id); it != running_.end()) it->second.answer = std::move(answer);
}

void ResponsesStore::end(const std::string& id) {
  const std::lock_guard lock(mutex_);
  running_.erase(id);
}

std::optional<ResponsesStore::Running> ResponsesStore::running(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto it = running_.find(id);
  return it == running_.end() ? std::nullopt : std::optional(it->second);
}

int64_t ResponsesStore::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace lapidary::server
