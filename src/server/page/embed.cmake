# cmake -D OUT=page_bytes.cpp -D FILES=a.html;b.css -P embed.cmake: files as arrays of bytes behind page_files.h.
set(type_html "text/html; charset=utf-8")
set(type_css "text/css; charset=utf-8")
set(type_js "text/javascript; charset=utf-8")
set(type_svg "image/svg+xml")
set(type_jpg "image/jpeg")
set(type_wav "audio/wav")
set(type_mp4 "video/mp4")

set(arrays "")
set(rows "")
set(count 0)
foreach(path ${FILES})
  get_filename_component(name ${path} NAME)
  get_filename_component(extension ${path} LAST_EXT)
  string(SUBSTRING ${extension} 1 -1 extension)
  if(NOT DEFINED type_${extension})
    message(FATAL_ERROR "${path}: no content type for .${extension}")
  endif()
  file(READ ${path} digits HEX)
  string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${digits}")
  string(LENGTH "${digits}" size)
  math(EXPR size "${size} / 2")
  file(SHA256 ${path} hash)
  string(SUBSTRING ${hash} 0 32 hash)
  string(APPEND arrays "const char kBytes${count}[] = {${bytes}};\n")
  string(APPEND rows "    {\"${name}\", \"${type_${extension}}\", {kBytes${count}, ${size}}, \"\\\"${hash}\\\"\"},\n")
  math(EXPR count "${count} + 1")
endforeach()

file(WRITE ${OUT} "#include \"server/page/page_files.h\"

namespace lapidary::server {
namespace {
${arrays}}  // namespace

extern const PageFile kPageFiles[] = {
${rows}};
extern const int kPageFileCount = ${count};

}  // namespace lapidary::server
")
