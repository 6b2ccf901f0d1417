#include "server/page/page_files.h"

namespace lapidary::server {

// In page_bytes.cpp, made by embed.cmake.
extern const PageFile kPageFiles[];
extern const int kPageFileCount;

std::span<const PageFile> page_files() { return {kPageFiles, static_cast<size_t>(kPageFileCount)}; }

const PageFile* find_page_file(std::string_view name) {
  for (const PageFile& file : page_files()) {
    if (file.name == name) return &file;
  }
  return nullptr;
}

}  // namespace lapidary::server
