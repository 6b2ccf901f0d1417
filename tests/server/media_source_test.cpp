#include "server/media_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "http/http_server.h"
#include "server/data_url.h"
#include "server/media_folder.h"

namespace lapidary::server {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;
using namespace std::string_literals;
using namespace std::string_view_literals;

constexpr std::string_view kPng = "\x89PNG\r\n\x1a\n..."sv;
constexpr std::string_view kPngBase64 = "iVBORw0KGgouLi4=";

std::atomic<bool> never{false};

ApiResult<std::string> load(const MediaSource& source, std::string_view url, bool allow_base64 = true,
                            PartKind kind = PartKind::kImage) {
  return source.load(url, kind, "messages[0].content[1]", allow_base64, never);
}

// The bytes, or "code: message".
std::string outcome(const MediaSource& source, std::string_view url, bool allow_base64 = true,
                    PartKind kind = PartKind::kImage) {
  ApiResult<std::string> bytes = load(source, url, allow_base64, kind);
  if (bytes) return *bytes;
  EXPECT_EQ(bytes.error().param, "messages[0].content[1]");
  EXPECT_THAT(bytes.error().message, ::testing::StartsWith("messages[0].content[1]: "));
  const bool large = bytes.error().kind == ErrorKind::kTooLarge;
  EXPECT_EQ(http_status(Surface::kOpenAi, bytes.error()), large ? 413 : 400);
  return (large ? "too large" : bytes.error().code) + ": " + bytes.error().message;
}

TEST(DataUrl, WhateverItClaimsToBe) {
  const MediaSource source({});
  const std::string data(kPngBase64);
  for (const std::string& head :
       {"data:image/png;base64,"s, "data:image/jpeg;base64,"s, "data:;base64,"s,
        "data:application/octet-stream;base64,"s, "data:image/png;charset=utf-8;name=a.png;base64,"s,
        "DATA:image/png;BASE64,"s, "data:text/html; base64,"s, "  data:image/png;base64,"s,
        "data:image/png;base64, \n"s}) {
    EXPECT_EQ(outcome(source, head + data), kPng) << head;
  }
  EXPECT_EQ(outcome(source, "data:image/png;base64,iVBORw0KGgouLi4"), kPng);     // no padding
  EXPECT_EQ(outcome(source, "data:image/png;base64,iVBORw0KGgouLi4%3D"), kPng);  // padding escaped
  EXPECT_EQ(outcome(source, "data:image/png;base64,iVBO\nRw0K\nGgou\nLi4=\n"), kPng);
  EXPECT_EQ(outcome(source, "data:image/png,%89PNG%0d%0A%1a%0a..."), kPng);
  EXPECT_EQ(outcome(source, "data:,a%20b%zz%4"), "a b%zz%4");
  EXPECT_EQ(outcome(source, "data:;base64,-_-_"), "\xfb\xff\xbf");
}

TEST(DataUrl, BadOnesAreNamedByTheirKind) {
  const MediaSource source({});
  for (const char* url : {"data:image/png;base64,iVBORw0KGgouLi4=x", "data:image/png;base64,*",
                          "data:image/png;base64,A", "data:image/png;base64", "data:image/png;base64,", "data:,"}) {
    EXPECT_THAT(outcome(source, url), HasSubstr("invalid_image: ")) << url;
    EXPECT_THAT(outcome(source, url, true, PartKind::kAudio), HasSubstr("invalid_audio: ")) << url;
    EXPECT_THAT(outcome(source, url, true, PartKind::kVideo), HasSubstr("invalid_video: ")) << url;
  }
}

TEST(DataUrl, SizesAreChecked) {
  MediaPolicy policy;
  policy.image_bytes_max = 1000;
  policy.audio_bytes_max = 2000;
  const MediaSource source(policy);
  const std::string fits(1000 / 3 * 4, 'A'), beyond(1004 / 3 * 4 + 4, 'A'), far(4'000'000, 'A');
  EXPECT_EQ(load(source, "data:;base64," + fits).value().size(), 999u);
  for (const std::string& text : {beyond, far}) {
    EXPECT_THAT(outcome(source, "data:;base64," + text), HasSubstr("too large: ")) << text.size();
    EXPECT_THAT(outcome(source, text), HasSubstr("too large: "));
    EXPECT_THAT(outcome(source, "data:," + text), HasSubstr("too large: "));
  }
  EXPECT_EQ(load(source, "data:;base64," + beyond, true, PartKind::kAudio).value().size(), 1005u);
}

TEST(MediaSource, BareBase64WhereItIsAllowed) {
  const MediaSource source({});
  EXPECT_EQ(outcome(source, kPngBase64), kPng);
  EXPECT_THAT(outcome(source, kPngBase64, false), HasSubstr("invalid_image: "));
  EXPECT_THAT(outcome(source, "no base64!"), HasSubstr("invalid_image: "));
  EXPECT_THAT(outcome(source, ""), HasSubstr("invalid_image: "));
}

TEST(MediaSource, WhatIsOffIsRefused) {
  const MediaSource source({});
  for (const char* url : {"http://example.com/a.png", "HTTPS://example.com/a.png", "file:///etc/passwd", "ftp://a/b",
                          "gopher://x", "javascript:alert(1)", "blob:x", "concat:a|b"}) {
    EXPECT_THAT(outcome(source, url), HasSubstr("media_url_not_allowed: ")) << url;
  }
  EXPECT_THAT(outcome(source, "http://example.com/a.png"), HasSubstr("--allow-url"));
  EXPECT_THAT(outcome(source, "file:///a"), HasSubstr("--media-path"));
}

TEST(MediaSource, StartUpSaysWhatCannotBe) {
  MediaPolicy policy;
  EXPECT_TRUE(check_media_policy(policy));
  policy.media_path = "/no/such/folder";
  ASSERT_FALSE(check_media_policy(policy));
  EXPECT_THAT(check_media_policy(policy).error().message, HasSubstr("/no/such/folder: expected a folder"));
  policy.media_path = "/dev/null";
  EXPECT_FALSE(check_media_policy(policy));
  policy.media_path = "/";
  EXPECT_TRUE(check_media_policy(policy));
  policy.allow_urls = {"http://not a host/"};
  EXPECT_FALSE(check_media_policy(policy));
}

// A folder with a picture, one in a folder below, links, a FIFO, and a secret beside it.
class Files : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/lapidary-media-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    base_ = name;
    folder_ = base_ / "media";
    fs::create_directories(folder_ / "sub dir");
    fs::create_directories(base_ / "media-secret");
    write(folder_ / "a.png", kPng);
    write(folder_ / "sub dir/b c.png", kPng);
    write(folder_ / "big.png", std::string(5000, 'x'));
    write(folder_ / "empty.png", "");
    write(base_ / "secret.png", "secret");
    write(base_ / "media-secret/s.png", "secret");
    fs::create_symlink("a.png", folder_ / "inside.png");
    fs::create_symlink(folder_ / "a.png", folder_ / "inside_absolute.png");
    fs::create_symlink("sub dir", folder_ / "linked");
    fs::create_symlink("../secret.png", folder_ / "outside.png");
    fs::create_symlink(base_ / "secret.png", folder_ / "outside_absolute.png");
    fs::create_symlink("..", folder_ / "up");
    fs::create_symlink("loop", folder_ / "loop");
    fs::create_symlink("/proc/self/root", folder_ / "root");
    ASSERT_EQ(::mkfifo((folder_ / "fifo").c_str(), 0600), 0);
    fs::create_symlink("/dev/zero", folder_ / "zero");
    policy_.media_path = folder_;
    policy_.image_bytes_max = 4000;
  }
  void TearDown() override { fs::remove_all(base_); }

  static void write(const fs::path& path, std::string_view bytes) { std::ofstream(path, std::ios::binary) << bytes; }

  fs::path base_, folder_;
  MediaPolicy policy_;
};

TEST_F(Files, BelowTheFolderAreRead) {
  const MediaSource source(policy_);
  const std::string absolute = "file://" + folder_.string();
  for (const std::string& url :
       {absolute + "/a.png", "FILE://" + folder_.string() + "/a.png", "file://localhost" + folder_.string() + "/a.png",
        "file://a.png"s, "file:a.png"s, "file://./a.png"s, "file://sub%20dir/b%20c.png"s, "file://sub dir/b c.png"s,
        absolute + "/sub%20dir/b%20c.png", absolute + "//a.png", "file://%61.png"s, "file://inside.png"s,
        "file://inside_absolute.png"s, "file://linked/b c.png"s}) {
    EXPECT_EQ(outcome(source, url), kPng) << url;
  }
}

TEST_F(Files, TheFolderMayBeALinkItself) {
  fs::create_directory_symlink(folder_, base_ / "alias");
  policy_.media_path = base_ / "alias/";
  const MediaSource source(policy_);
  EXPECT_EQ(outcome(source, "file://" + (base_ / "alias/a.png").string()), kPng);
  EXPECT_EQ(outcome(source, "file://" + (folder_ / "a.png").string()), kPng);
  EXPECT_EQ(outcome(source, "file://a.png"), kPng);
}

TEST_F(Files, WhateverLiesElsewhereIsNotThere) {
  const MediaSource source(policy_);
  const std::string absolute = "file://" + folder_.string(), missing = outcome(source, "file://missing.png");
  EXPECT_THAT(missing, HasSubstr("media_url_not_allowed: "));
  EXPECT_THAT(missing, Not(HasSubstr(base_.string())));
  for (const std::string& url : {"file:///etc/passwd"s,
                                 "file:////etc/passwd"s,
                                 "file://../secret.png"s,
                                 "file://..%2fsecret.png"s,
                                 "file://%2e%2e/secret.png"s,
                                 "file://sub%20dir/../../secret.png"s,
                                 absolute + "/../secret.png",
                                 absolute + "-secret/s.png",
                                 "file://" + base_.string() + "/secret.png",
                                 "file://outside.png"s,
                                 "file://outside_absolute.png"s,
                                 "file://up/secret.png"s,
                                 "file://loop"s,
                                 "file://root/etc/passwd"s,
                                 "file://fifo"s,
                                 "file://zero"s,
                                 "file://sub%20dir"s,
                                 "file://"s,
                                 "file:///"s,
                                 absolute,
                                 absolute + "/",
                                 "file://."s,
                                 "file://a.png/"s,
                                 "file://a.png%00.jpg"s,
                                 "file:///proc/self/environ"s,
                                 "file:///dev/zero"s,
                                 "file://a.png/b"s,
                                 "file://localhost/etc/passwd"s,
                                 "file://" + std::string(100'000, 'a')}) {
    EXPECT_EQ(outcome(source, url), missing) << url.substr(0, 200);
  }
}

TEST_F(Files, SizesAreChecked) {
  const MediaSource source(policy_);
  EXPECT_THAT(outcome(source, "file://big.png"), HasSubstr("too large: "));
  EXPECT_EQ(load(source, "file://big.png", true, PartKind::kVideo).value().size(), 5000u);
  EXPECT_THAT(outcome(source, "file://empty.png"), HasSubstr("invalid_image: "));
}

TEST_F(Files, AFolderThatIsGoneHasNoFiles) {
  policy_.media_path = base_ / "gone";
  EXPECT_THAT(outcome(MediaSource(policy_), "file://a.png"), HasSubstr("media_url_not_allowed: "));
}

// A server of this machine that was listed by its address.
class Fetches : public ::testing::Test {
 protected:
  void SetUp() override {
    HttpOptions options;
    options.port = 0;
    HttpCallbacks callbacks;
    callbacks.gate = [](const HttpHead&) { return HttpVerdict{}; };
    callbacks.handle = [](const std::shared_ptr<HttpExchange>& exchange) {
      const std::string& target = exchange->head().target;
      HttpResponse response;
      response.body = target == "/a.png"   ? std::string(kPng)
                      : target == "/a.mp4" ? std::string(
                                                 "\0\0\0\x20"
                                                 "ftypisom\0\0\0\0"sv)
                      : target == "/big" ? std::string(kPng) + std::string(5000, 'x')
                                         : "<html>inside of the intranet</html>";
      if (target == "/404") response.status = 404;
      exchange->respond(std::move(response));
    };
    callbacks.refuse = [](int status, std::string_view, std::string_view, const HttpHead&) {
      HttpResponse response;
      response.status = status;
      return response;
    };
    auto server = HttpServer::listen(options, std::move(callbacks));
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
    host_ = "127.0.0.1:" + std::to_string(server_->port());
    policy_.allow_urls = {host_};
    policy_.image_bytes_max = 4000;
  }

  std::unique_ptr<HttpServer> server_;
  std::string host_;
  MediaPolicy policy_;
};

TEST_F(Fetches, WhatLooksLikeItsKindIsTaken) {
  const MediaSource source(policy_);
  EXPECT_EQ(outcome(source, "http://" + host_ + "/a.png"), kPng);
  EXPECT_EQ(load(source, "http://" + host_ + "/a.mp4", true, PartKind::kVideo).value().size(), 16u);
  EXPECT_EQ(load(source, "http://" + host_ + "/a.mp4", true, PartKind::kAudio).value().size(), 16u);
  EXPECT_EQ(outcome(source, "http://" + host_ + "/a.png", true, PartKind::kText), kPng);
}

TEST_F(Fetches, PagesNeverReachTheModelOrTheMessage) {
  const MediaSource source(policy_);
  for (const PartKind kind : {PartKind::kImage, PartKind::kAudio, PartKind::kVideo, PartKind::kText}) {
    for (const char* path : {"/page", "/404"}) {
      const std::string said = outcome(source, "http://" + host_ + path, true, kind);
      EXPECT_THAT(said, HasSubstr("failed_to_download_media: "));
      EXPECT_THAT(said, Not(HasSubstr("intranet")));
    }
  }
  EXPECT_THAT(outcome(source, "http://" + host_ + "/a.mp4"), HasSubstr("failed_to_download_media: "));
  EXPECT_THAT(outcome(source, "http://" + host_ + "/big"), HasSubstr("too large: "));
}

TEST_F(Fetches, OtherHostsAreRefused) {
  const MediaSource source(policy_);
  for (const std::string& url : {"http://127.0.0.2:80/a.png"s, "http://localhost/a.png"s, "https://example.com/a.png"s,
                                 "http://user@" + host_ + "/a.png"}) {
    EXPECT_THAT(outcome(source, url), HasSubstr("media_url_not_allowed: ")) << url;
  }
}

}  // namespace
}  // namespace lapidary::server
