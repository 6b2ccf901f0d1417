#include "http/exchange.h"

#include <algorithm>
#include <utility>

namespace lapidary {
namespace {

// A burst (the last events of a long answer repeat all of it) may stand above pending_bytes_max for a moment.
constexpr std::chrono::milliseconds kOverMax{250};
constexpr int64_t kOverFactorMax = 16;

}  // namespace

Exchange::Exchange(std::shared_ptr<const HttpShared> shared, RequestHead head, HttpBody body)
    : shared_(std::move(shared)),
      head_(std::move(head)),
      body_(std::move(body)),
      head_only_(head_.http.method == "HEAD") {}

std::shared_ptr<HttpExchange> Exchange::handle(const std::shared_ptr<Exchange>& exchange) {
  return std::shared_ptr<HttpExchange>(exchange.get(), [exchange](HttpExchange*) { exchange->abandon(); });
}

void Exchange::attach(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  wake_ = std::move(wake);
}

void Exchange::poke() {
  if (wake_ && !poked_) {
    poked_ = true;
    wake_();
  }
}

void Exchange::begin_locked(HttpResponse& response, BodyFraming framing) {
  framing_ = framing;
  has_body_ = !head_only_ && status_has_body(response.status);
  keep_alive_ = head_.keep_alive && !response.close && framing != BodyFraming::kClose && !shared_->draining;
  out_ = response_head(response, framing, head_.http.version, keep_alive_);
}

void Exchange::respond(HttpResponse response) {
  std::function<void()> callback;  // destroyed without the lock: it may hold an exchange
  const std::lock_guard lock(mutex_);
  if (stage_ != Stage::kWaiting || !wake_) return;
  begin_locked(response, BodyFraming::kLength);
  if (has_body_) out_ += response.body;
  pending_bytes_ = static_cast<int64_t>(out_.size());
  stage_ = Stage::kEnded;
  callback.swap(on_gone_);
  poke();
}

void Exchange::begin(HttpResponse response) {
  const std::lock_guard lock(mutex_);
  if (stage_ != Stage::kWaiting || !wake_) return;
  begin_locked(response, head_.http.version == 10 ? BodyFraming::kClose : BodyFraming::kChunks);
  stage_ = Stage::kStreaming;
  append_piece(response.body);
  pending_bytes_ = static_cast<int64_t>(out_.size());
  poke();
}

void Exchange::append_piece(std::string_view piece) {
  if (!has_body_) return;
  if (framing_ == BodyFraming::kChunks) {
    append_chunk(out_, piece);
  } else {
    out_ += piece;
  }
}

void Exchange::write(std::string piece) {
  const std::lock_guard lock(mutex_);
  if (stage_ != Stage::kStreaming || !wake_ || overrun_) return;
  const size_t before = out_.size();
  append_piece(piece);
  pending_bytes_ += static_cast<int64_t>(out_.size() - before);
  const int64_t limit = shared_->options.pending_bytes_max;
  if (pending_bytes_ > limit) {
    const Clock::time_point now = Clock::now();
    over_since_ = std::min(over_since_, now);
    if (now - over_since_ > kOverMax || pending_bytes_ / kOverFactorMax > limit) {
      overrun_ = true;
      wake_();
      return;
    }
  }
  if (!out_.empty()) poke();
}

void Exchange::end() {
  std::function<void()> callback;
  const std::lock_guard lock(mutex_);
  if (stage_ != Stage::kStreaming || !wake_) return;
  if (has_body_ && framing_ == BodyFraming::kChunks) {
    out_ += kLastChunk;
    pending_bytes_ += static_cast<int64_t>(kLastChunk.size());
  }
  stage_ = Stage::kEnded;
  callback.swap(on_gone_);
  poke();
}

bool Exchange::gone() const {
  const std::lock_guard lock(mutex_);
  return gone_;
}

int64_t Exchange::pending_bytes() const {
  const std::lock_guard lock(mutex_);
  return pending_bytes_;
}

void Exchange::on_gone(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (!gone_) {
      if (stage_ == Stage::kEnded) return;
      on_gone_.swap(callback);
      return;
    }
    if (stage_ == Stage::kEnded) return;
  }
  if (callback) callback();
}

void Exchange::abandon() {
  const std::lock_guard lock(mutex_);
  if (stage_ == Stage::kEnded || !wake_) return;
  abandoned_ = true;
  poke();
}

Exchange::Take Exchange::take(std::string& bytes) {
  const std::lock_guard lock(mutex_);
  if (overrun_) return Take::kOverrun;
  if (!out_.empty()) {
    bytes.swap(out_);
    return Take::kBytes;
  }
  if (stage_ == Stage::kEnded) return Take::kComplete;
  if (abandoned_) return Take::kAbandoned;
  poked_ = false;
  return Take::kNothing;
}

void Exchange::sent(size_t bytes) {
  const std::lock_guard lock(mutex_);
  pending_bytes_ -= static_cast<int64_t>(bytes);
  if (pending_bytes_ <= shared_->options.pending_bytes_max) over_since_ = Clock::time_point::max();
}

bool Exchange::overrun() const {
  const std::lock_guard lock(mutex_);
  return overrun_;
}

bool Exchange::begun() const {
  const std::lock_guard lock(mutex_);
  return stage_ != Stage::kWaiting;
}

bool Exchange::complete() const {
  const std::lock_guard lock(mutex_);
  return stage_ == Stage::kEnded;
}

bool Exchange::keep_alive() const {
  const std::lock_guard lock(mutex_);
  return keep_alive_;
}

void Exchange::lose() {
  std::function<void()> callback;
  std::string dropped;
  {
    const std::lock_guard lock(mutex_);
    if (gone_) return;
    gone_ = true;
    wake_ = nullptr;
    dropped.swap(out_);
    callback.swap(on_gone_);  // empty once the answer is complete
  }
  if (callback) callback();
}

void Exchange::detach() {
  const std::lock_guard lock(mutex_);
  wake_ = nullptr;
}

}  // namespace lapidary
