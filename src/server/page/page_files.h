// The chat page's files, carried inside the program: embed.cmake turns them into bytes when they change. Who may fetch
// them, and under which headers, is the server's business.
#pragma once

#include <span>
#include <string_view>

namespace lapidary::server {

struct PageFile {
  std::string_view name;          // "index.html": served at /, the others at /page/NAME
  std::string_view content_type;  // with its charset where it is text
  std::string_view bytes;
  std::string_view etag;  // strong, with its quotes: a hash of the bytes
};

std::span<const PageFile> page_files();

// The file of that name; nullptr when there is none. Names are compared as they are: no path ever reaches a disk.
const PageFile* find_page_file(std::string_view name);

}  // namespace lapidary::server
