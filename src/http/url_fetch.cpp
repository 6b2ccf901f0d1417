#include "http/url_fetch.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "http/allow_list.h"
#include "http/text.h"

namespace lapidary {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kUrlBytesMax = 8192, kHostBytesMax = 253;
constexpr size_t kAddressesMax = 16;
constexpr int64_t kHeaderBytesMax = 64 << 10;
constexpr std::chrono::milliseconds kLook{50};  // between looks at `cancelled`
constexpr const char* kUserAgent = "lapidary";

Error refused(std::string message) { return {ErrorCode::kUnsupported, std::move(message)}; }
Error failed(std::string_view host, std::string_view why) {
  return {ErrorCode::kNotFound, fmt::format("cannot fetch from {}: {}", host, why)};
}
Error cancelled_error() { return {ErrorCode::kCancelled, "the fetch was cancelled"}; }

struct UrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

// An address that passed the rules that need no network.
struct Url {
  std::unique_ptr<CURLU, UrlDeleter> handle;
  bool https = false;
  std::string host;  // lower case, ASCII, no brackets, no dot at the end
  uint16_t port = 0;

  uint16_t default_port() const { return https ? 443 : 80; }
};

// A part of the URL; absent and empty are the same here.
std::string url_part(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return {};
  std::string copy(text);
  curl_free(text);
  return copy;
}

// The parser is the one that will connect, so that the two cannot disagree about what the host is.
Result<Url> parse_url(std::string_view text) {
  const auto printable = [](char c) { return static_cast<unsigned char>(c) > 0x20 && c != 0x7f; };
  if (text.size() > kUrlBytesMax) return refused(fmt::format("a URL of more than {} bytes", kUrlBytesMax));
  Url url;
  url.handle.reset(curl_url());
  CHECK(url.handle != nullptr);
  if (!std::all_of(text.begin(), text.end(), printable) ||
      curl_url_set(url.handle.get(), CURLUPART_URL, std::string(text).c_str(), CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
    return refused("a malformed URL, expected http://HOST/PATH or https://HOST/PATH");
  const std::string scheme = url_part(url.handle.get(), CURLUPART_SCHEME);
  url.https = scheme == "https";
  if (!url.https && scheme != "http") return refused("expected a URL that begins with http:// or https://");
  for (const CURLUPart part : {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_OPTIONS, CURLUPART_ZONEID}) {
    if (char* found = nullptr; curl_url_get(url.handle.get(), part, &found, 0) == CURLUE_OK) {
      curl_free(found);
      return refused("a URL with a user name, a password or a zone");
    }
  }
  // International names become their ASCII form.
  std::string host = url_part(url.handle.get(), CURLUPART_HOST, CURLU_PUNYCODE);
  for (char& c : host) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (!host.empty() && host.back() == '.') host.pop_back();
  const bool plain = std::all_of(host.begin(), host.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  const bool empty_label = host.empty() || host.front() == '.' || host.find("..") != std::string::npos;
  if (empty_label || host.size() > kHostBytesMax || !plain ||
      curl_url_set(url.handle.get(), CURLUPART_HOST, host.c_str(), 0) != CURLUE_OK)
    return refused("a URL whose host is none");
  url.host = host.front() == '[' ? host.substr(1, host.size() - 2) : host;
  const std::string port = url_part(url.handle.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
  const auto [stop, problem] = std::from_chars(port.data(), port.data() + port.size(), url.port);
  if (problem != std::errc() || url.port == 0) return refused("a URL whose port is none");
  return url;
}

Result<std::vector<IpAddress>> system_resolve(const std::string& host) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (const int problem = getaddrinfo(host.c_str(), nullptr, &hints, &found); problem != 0)
    return Error{ErrorCode::kNotFound, gai_strerror(problem)};
  std::vector<IpAddress> addresses;
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    const auto address = ip_address_of(*info->ai_addr);
    if (address && addresses.size() < kAddressesMax) addresses.push_back(*address);
  }
  freeaddrinfo(found);
  return addresses;
}

// How many fetches run at a time. Held by pointer: a look-up that is given up still counts until its thread ends.
class Slots {
 public:
  explicit Slots(int32_t count) : free_(count) {}

  bool take(Clock::time_point until, const std::atomic<bool>& cancelled) {
    std::unique_lock lock(mutex_);
    while (free_ <= 0) {
      if (cancelled || Clock::now() >= until) return false;
      changed_.wait_for(lock, kLook);
    }
    --free_;
    return true;
  }
  void give() {
    const std::lock_guard lock(mutex_);
    ++free_;
    changed_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int32_t free_;
};

struct Slot {
  std::shared_ptr<Slots> slots;
  explicit Slot(std::shared_ptr<Slots> from) : slots(std::move(from)) {}
  ~Slot() { slots->give(); }
  Slot(const Slot&) = delete;
};

using Resolver = std::function<Result<std::vector<IpAddress>>(const std::string&)>;

// A look-up cannot be cancelled, so it gets a thread that may be left behind.
Result<std::vector<IpAddress>> resolve(const Resolver& resolver, const std::string& host, std::shared_ptr<Slot> slot,
                                       Clock::time_point until, const std::atomic<bool>& cancelled) {
  struct Shared {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<Result<std::vector<IpAddress>>> answer;
  };
  auto shared = std::make_shared<Shared>();
  std::thread([shared, resolver, host, slot = std::move(slot)] {
    auto answer = resolver(host);
    const std::lock_guard lock(shared->mutex);
    shared->answer = std::move(answer);
    shared->changed.notify_one();
  }).detach();
  std::unique_lock lock(shared->mutex);
  while (!shared->answer) {
    if (cancelled) return cancelled_error();
    if (Clock::now() >= until) return failed(host, "its address was not found in time");
    shared->changed.wait_for(lock, kLook);
  }
  if (!*shared->answer) return failed(host, shared->answer->error().message);
  return std::move(**shared->answer);
}

// What one request brings, filled by curl's callbacks.
struct Reply {
  CURL* easy = nullptr;
  const std::vector<IpAddress>* addresses = nullptr;
  int64_t bytes_max = 0, header_bytes = 0;
  bool too_large = false, unwanted = false, encoded = false;
  std::string location;
  std::string bytes;
};

size_t on_body(char* data, size_t, size_t size, void* user) {
  Reply& reply = *static_cast<Reply*>(user);
  long status = 0;
  curl_easy_getinfo(reply.easy, CURLINFO_RESPONSE_CODE, &status);
  reply.unwanted = status != 200 || reply.encoded;
  reply.too_large = static_cast<int64_t>(reply.bytes.size() + size) > reply.bytes_max;
  if (reply.unwanted || reply.too_large) return CURL_WRITEFUNC_ERROR;
  reply.bytes.append(data, size);
  return size;
}

size_t on_header(char* data, size_t, size_t size, void* user) {
  Reply& reply = *static_cast<Reply*>(user);
  reply.header_bytes += static_cast<int64_t>(size);
  if (reply.header_bytes > kHeaderBytesMax) return 0;
  std::string_view line(data, size);
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
  if (line.substr(0, 5) == "HTTP/") {  // of a 100 Continue, or of the answer
    reply.encoded = false;
    reply.location.clear();
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return size;
  const std::string_view name = line.substr(0, colon), value = trim_http_space(line.substr(colon + 1));
  if (equal_ignoring_case(name, "content-encoding"))
    reply.encoded = !value.empty() && !equal_ignoring_case(value, "identity");
  if (equal_ignoring_case(name, "location")) reply.location = value;
  return size;
}

// The last look at where a packet would go.
curl_socket_t on_socket(void* user, curlsocktype, curl_sockaddr* to) {
  const Reply& reply = *static_cast<const Reply*>(user);
  const auto address = ip_address_of(to->addr);
  const auto& allowed = *reply.addresses;
  if (!address || std::find(allowed.begin(), allowed.end(), *address) == allowed.end()) return CURL_SOCKET_BAD;
  return ::socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

struct Hop {
  std::optional<FetchedBody> body;
  std::string next_url;  // of a redirect
};

// Where a redirect leads, from the URL that was asked for; empty when that is no URL.
std::string resolve_location(const Url& url, const std::string& location) {
  const std::unique_ptr<CURLU, UrlDeleter> next(curl_url_dup(url.handle.get()));
  CHECK(next != nullptr);
  if (curl_url_set(next.get(), CURLUPART_URL, location.c_str(), CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK) return {};
  return url_part(next.get(), CURLUPART_URL);
}

// One request to one of the addresses.
Result<Hop> request(const Url& url, const std::vector<IpAddress>& addresses, int64_t bytes_max, int32_t connect_seconds,
                    Clock::time_point until, const std::atomic<bool>& cancelled) {
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> easy(curl_easy_init(), curl_easy_cleanup);
  const std::unique_ptr<CURLM, decltype(&curl_multi_cleanup)> multi(curl_multi_init(), curl_multi_cleanup);
  CHECK(easy != nullptr && multi != nullptr);
  Reply reply{.easy = easy.get(), .addresses = &addresses, .bytes_max = bytes_max};

  std::string pin = fmt::format("{}:{}:", url.host, url.port);
  for (size_t i = 0; i < addresses.size(); ++i) {
    const std::string text = to_string(addresses[i]);
    pin += (i > 0 ? "," : "") + (addresses[i].six ? "[" + text + "]" : text);
  }
  using List = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;
  const List pins(parse_ip_address(url.host) ? nullptr : curl_slist_append(nullptr, pin.c_str()), curl_slist_free_all);
  const List headers(curl_slist_append(nullptr, "Accept-Encoding: identity"), curl_slist_free_all);
  const auto set = [&](CURLoption option, auto value) {
    CHECK(curl_easy_setopt(easy.get(), option, value) == CURLE_OK);
  };
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
  if (left <= 0) return failed(url.host, "time is up");
  set(CURLOPT_CURLU, url.handle.get());
  set(CURLOPT_PROTOCOLS_STR, url.https ? "https" : "http");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_PROXY, "");  // whatever the environment says
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_USERAGENT, kUserAgent);
  set(CURLOPT_HTTPHEADER, headers.get());
  set(CURLOPT_HTTP_CONTENT_DECODING, 0L);
  set(CURLOPT_MAXFILESIZE_LARGE, static_cast<curl_off_t>(bytes_max));
  set(CURLOPT_TIMEOUT_MS, static_cast<long>(left));
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(std::min<int64_t>(left, connect_seconds * 1000LL)));
  if (pins) set(CURLOPT_RESOLVE, pins.get());
  set(CURLOPT_OPENSOCKETFUNCTION, &on_socket);
  set(CURLOPT_OPENSOCKETDATA, static_cast<void*>(&reply));
  set(CURLOPT_HEADERFUNCTION, &on_header);
  set(CURLOPT_HEADERDATA, static_cast<void*>(&reply));
  set(CURLOPT_WRITEFUNCTION, &on_body);
  set(CURLOPT_WRITEDATA, static_cast<void*>(&reply));

  CHECK(curl_multi_add_handle(multi.get(), easy.get()) == CURLM_OK);
  int running = 1;
  bool stopped = false;
  while (running > 0 && !stopped) {
    if (curl_multi_perform(multi.get(), &running) != CURLM_OK) break;
    if (running > 0) curl_multi_poll(multi.get(), nullptr, 0, static_cast<int>(kLook.count()), nullptr);
    stopped = cancelled;
  }
  CURLcode outcome = CURLE_OPERATION_TIMEDOUT;
  int queued = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi.get(), &queued)) {
    if (message->msg == CURLMSG_DONE) outcome = message->data.result;
  }
  long status = 0;
  char* type = nullptr;
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(easy.get(), CURLINFO_CONTENT_TYPE, &type);
  Hop hop;
  if (type != nullptr) hop.body = FetchedBody{.content_type = type};
  curl_multi_remove_handle(multi.get(), easy.get());

  if (stopped) return cancelled_error();
  const bool answered = outcome == CURLE_OK || reply.unwanted || outcome == CURLE_FILESIZE_EXCEEDED || reply.too_large;
  if (!answered) return failed(url.host, curl_easy_strerror(outcome));
  if (status >= 300 && status < 400 && !reply.location.empty()) {
    hop.next_url = resolve_location(url, reply.location);
    if (hop.next_url.empty()) return refused(fmt::format("{} redirects to a malformed URL", url.host));
    return hop;
  }
  if (status != 200) return failed(url.host, fmt::format("it answers with status {}", status));
  if (reply.encoded) return failed(url.host, "it answers in a content coding that was not asked for");
  if (reply.too_large || outcome == CURLE_FILESIZE_EXCEEDED)
    return Error{ErrorCode::kExhausted, fmt::format("what {} sends has more than {} bytes", url.host, bytes_max)};
  if (!hop.body) hop.body.emplace();
  hop.body->bytes = std::move(reply.bytes);
  return hop;
}

}  // namespace

struct UrlFetcher::Impl {
  FetchPolicy policy;
  AllowList allow;
  std::shared_ptr<Slots> slots;
};

UrlFetcher::UrlFetcher(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
UrlFetcher::~UrlFetcher() = default;

Result<std::unique_ptr<UrlFetcher>> UrlFetcher::make(FetchPolicy policy) {
  static std::once_flag once;
  std::call_once(once, [] { CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK); });
  ASSIGN_OR_RETURN(AllowList allow, AllowList::parse(policy.allow));
  if (!policy.resolve) policy.resolve = system_resolve;
  auto slots = std::make_shared<Slots>(policy.parallel_max);
  return std::unique_ptr<UrlFetcher>(new UrlFetcher(
      std::make_unique<Impl>(Impl{.policy = std::move(policy), .allow = std::move(allow), .slots = std::move(slots)})));
}

Result<FetchedBody> UrlFetcher::fetch(std::string_view text, int64_t bytes_max,
                                      const std::atomic<bool>& cancelled) const {
  const FetchPolicy& policy = impl_->policy;
  const Clock::time_point until = Clock::now() + std::chrono::seconds(policy.total_seconds);
  std::shared_ptr<Slot> slot;
  std::string next(text);
  bool was_https = false;
  for (int hops = 0;; ++hops) {
    ASSIGN_OR_RETURN(const Url url, parse_url(next));
    if (was_https && !url.https) return refused(fmt::format("a redirect to {} leaves https", url.host));
    was_https = url.https;
    const AllowList::Match match = impl_->allow.match(url.host, url.port, url.default_port());
    if (match == AllowList::Match::kNone)
      return refused(fmt::format("fetching from {} port {} is not allowed", url.host, url.port));

    if (slot == nullptr) {
      if (!impl_->slots->take(until, cancelled))
        return cancelled ? cancelled_error() : failed(url.host, "too many fetches run at the same time");
      slot = std::make_shared<Slot>(impl_->slots);
    }
    const Clock::time_point resolve_until =
        std::min(until, Clock::now() + std::chrono::seconds(policy.connect_seconds));
    ASSIGN_OR_RETURN(const std::vector<IpAddress> addresses,
                     resolve(policy.resolve, url.host, slot, resolve_until, cancelled));
    if (addresses.empty()) return failed(url.host, "it has no address");
    for (const IpAddress& address : addresses) {
      if (match != AllowList::Match::kExact && is_blocked_address(address) &&
          !impl_->allow.lists(address, url.port, url.default_port()))
        return refused(fmt::format("fetching from {} is not allowed: its address is not a public one", url.host));
    }
    ASSIGN_OR_RETURN(Hop hop, request(url, addresses, bytes_max, policy.connect_seconds, until, cancelled));
    if (hop.next_url.empty()) return *std::move(hop.body);
    if (hops >= policy.redirects_max)
      return failed(url.host, fmt::format("it redirects more than {} times", policy.redirects_max));
    next = std::move(hop.next_url);
  }
}

}  // namespace lapidary
