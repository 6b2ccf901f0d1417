// HTTP/1.1 over TCP, bounded everywhere: accepts, reads requests, writes answers, notices clients that leave.
#pragma once

#include <memory>

#include "base/result.h"
#include "http/http.h"

namespace lapidary {

class HttpServer {
 public:
  // Listens and serves at once, on threads of its own. Errors: kInvalidArgument for a host that is no address of this
  // machine, kExhausted when the port is taken; both name host and port.
  static Result<std::unique_ptr<HttpServer>> listen(const HttpOptions& options, HttpCallbacks callbacks);
  // Ends every connection and waits for the threads.
  virtual ~HttpServer() = default;

  virtual uint16_t port() const = 0;
  // Of connections that are open.
  virtual int32_t connections() const = 0;
  // That the bodies of requests hold, of HttpOptions::bodies_bytes_max.
  virtual int64_t body_bytes() const = 0;
  // From now on every answer closes its connection, and idle connections end. New ones are still accepted, so that
  // health can be asked for.
  virtual void drain() = 0;
};

}  // namespace lapidary
