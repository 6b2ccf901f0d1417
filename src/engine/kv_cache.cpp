#include "engine/kv_cache.h"

#include <algorithm>

#include "base/check.h"

namespace lapidary {

KvPages::KvPages(std::array<int32_t, kAttentionKinds> totals) {
  for (size_t kind = 0; kind < kAttentionKinds; ++kind) {
    groups_[kind].pages.resize(static_cast<size_t>(totals[kind]));
    for (int32_t page = totals[kind] - 1; page >= 0; --page) groups_[kind].free.push_back(page);
  }
}

KvPages::Page& KvPages::page_of(Group& group, int32_t page) {
  CHECK(page >= 0 && static_cast<size_t>(page) < group.pages.size());
  return group.pages[static_cast<size_t>(page)];
}

int32_t KvPages::acquire(AttentionKind kind) {
  Group& g = group(kind);
  CHECK(!g.free.empty());
  const int32_t page = g.free.back();
  g.free.pop_back();
  Page& p = page_of(g, page);
  CHECK(p.sequences == 0 && !p.cached);
  p.sequences = 1;
  return page;
}

void KvPages::retain(AttentionKind kind, int32_t page) {
  Group& g = group(kind);
  Page& p = page_of(g, page);
  const bool is_held = p.sequences > 0 || p.cached;
  CHECK(is_held);
  if (p.sequences == 0) CHECK(g.idle.erase({p.kept, p.idle_since, page}) == 1);
  ++p.sequences;
}

void KvPages::release(AttentionKind kind, int32_t page) {
  Group& g = group(kind);
  Page& p = page_of(g, page);
  const bool is_held = p.sequences > 0;
  CHECK(is_held);
  if (--p.sequences > 0) return;
  if (p.cached) {
    p.idle_since = ++releases_;
    g.idle.insert({p.kept, p.idle_since, page});
  } else {
    g.free.push_back(page);
  }
}

void KvPages::cache(AttentionKind kind, int32_t page) {
  Page& p = page_of(group(kind), page);
  CHECK(p.sequences > 0 && !p.cached);
  p.cached = true;
}

void KvPages::uncache(AttentionKind kind, int32_t page) {
  Group& g = group(kind);
  Page& p = page_of(g, page);
  CHECK(p.cached);
  if (p.sequences == 0) {
    CHECK(g.idle.erase({p.kept, p.idle_since, page}) == 1);
    g.free.push_back(page);
  }
  p.cached = p.kept = false;
}

void KvPages::keep(AttentionKind kind, int32_t page) {
  Group& g = group(kind);
  Page& p = page_of(g, page);
  CHECK(p.cached);
  if (p.sequences == 0) {
    CHECK(g.idle.erase({p.kept, p.idle_since, page}) == 1);
    p.idle_since = ++releases_;
    g.idle.insert({true, p.idle_since, page});
  }
  p.kept = true;
}

std::optional<KvPages::Idle> KvPages::next_idle(AttentionKind kind) const {
  const Group& g = group(kind);
  return g.idle.empty() ? std::nullopt : std::optional(*g.idle.begin());
}

void KvPages::extend(AttentionKind kind, PageTable& table, int32_t end) {
  for (int32_t missing = pages_missing(table, end); missing > 0; --missing) table.pages.push_back(acquire(kind));
}

void KvPages::release_before(AttentionKind kind, PageTable& table, int32_t position) {
  size_t count = 0;
  while (count < table.pages.size() && table.first_position + kPagePositions <= position) {
    release(kind, table.pages[count++]);
    table.first_position += kPagePositions;
  }
  table.pages.erase(table.pages.begin(), table.pages.begin() + static_cast<std::ptrdiff_t>(count));
}

void KvPages::release_all(AttentionKind kind, PageTable& table) {
  for (auto page = table.pages.rbegin(); page != table.pages.rend(); ++page) release(kind, *page);
  table.pages.clear();
  table.first_position = 0;
}

int32_t pages_missing(const PageTable& table, int32_t end) {
  const int32_t needed = (end - table.first_position + kPagePositions - 1) / kPagePositions;
  return std::max(0, needed - static_cast<int32_t>(table.pages.size()));
}

int32_t global_pages(int32_t context) { return (context + kPagePositions - 1) / kPagePositions; }

int32_t sliding_pages(int32_t window, int32_t step_rows_max, int32_t context, int32_t sequences) {
  // A window before a sequence's first row of the step (its query needs one position less, a drafter all of them), then
  // its rows, drafts included; both ends may cut a page.
  const int64_t span = static_cast<int64_t>(window) * sequences + step_rows_max;
  const int64_t whole = static_cast<int64_t>(global_pages(context)) * sequences;
  return static_cast<int32_t>(std::min<int64_t>(whole, span / kPagePositions + 2LL * sequences));
}

}  // namespace lapidary
