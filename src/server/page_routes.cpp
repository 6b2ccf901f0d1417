#include "server/page_routes.h"

#include <fmt/format.h>

#include "server/page/page_files.h"

namespace lapidary::server {
namespace {

// Model text must not become anything but text there: no script or style but the page's own files, nothing from
// elsewhere.
constexpr const char* kContentSecurityPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob: "
    "data:; "
    "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

void send(const Call& call, const PageFile& file) {
  HttpResponse response;
  response.headers = {{"Content-Type", std::string(file.content_type)},
                      {"ETag", std::string(file.etag)},
                      {"Cache-Control", "no-cache"},
                      {"Content-Security-Policy", kContentSecurityPolicy},
                      {"X-Content-Type-Options", "nosniff"},
                      {"Referrer-Policy", "no-referrer"}};
  const std::string* known = call.header("if-none-match");
  if (known && known->find(file.etag) != std::string::npos) {
    response.status = 304;
  } else {
    response.body = file.bytes;
  }
  call.respond(std::move(response));
}

// Accept's first kind of text decides: browsers begin with text/html, clients send */* or JSON.
bool prefers_html(const std::string* accept) {
  if (!accept) return false;
  const size_t html = accept->find("text/html"), plain = accept->find("text/plain");
  return html != std::string::npos && html < plain;
}

}  // namespace

void handle_root(Service&, const Call& call) {
  if (prefers_html(call.header("accept"))) {
    if (const PageFile* page = find_page_file("index.html")) return send(call, *page);
  }
  call.respond_text("Ollama is running", "text/plain; charset=utf-8");
}

void handle_page_file(Service&, const Call& call) {
  const PageFile* file = find_page_file(call.parameters.at(0));
  if (!file)
    return call.fail({ErrorKind::kNotFound, "", fmt::format("the page has no file {}", call.parameters.at(0))});
  send(call, *file);
}

}  // namespace lapidary::server
