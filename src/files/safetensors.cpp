#include "files/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/json.h"
#include "base/limits.h"

namespace lapidary {
namespace {

struct Element {
  std::string_view name;
  int32_t bytes;
  std::optional<Format> format;
};

constexpr std::array kElements = {
    Element{"F32", 4, Format::kF32},     Element{"BF16", 2, Format::kBF16},   Element{"F16", 2, Format::kF16},
    Element{"F64", 8, std::nullopt},     Element{"I64", 8, std::nullopt},     Element{"U64", 8, std::nullopt},
    Element{"I32", 4, std::nullopt},     Element{"U32", 4, std::nullopt},     Element{"I16", 2, std::nullopt},
    Element{"U16", 2, std::nullopt},     Element{"I8", 1, std::nullopt},      Element{"U8", 1, std::nullopt},
    Element{"BOOL", 1, std::nullopt},    Element{"F8_E4M3", 1, std::nullopt}, Element{"F8_E5M2", 1, std::nullopt},
    Element{"F8_E8M0", 1, std::nullopt},
};

constexpr size_t kDimensionsMax = 8;

Error corrupt(std::string_view source, std::string what) {
  return {ErrorCode::kCorruptFile, fmt::format("{}: {}", source, what)};
}

struct Placed {
  TensorEntry entry;
  int64_t begin = 0, end = 0;
};

Result<Placed> read_entry(const std::string& name, const Json& value, int64_t data_bytes, std::string_view source) {
  const auto bad = [&](std::string_view what) { return corrupt(source, fmt::format("tensor {}: {}", name, what)); };
  if (!value.is_object()) return bad("expected an object with dtype, shape and data_offsets");
  const auto dtype = value.find("dtype"), shape = value.find("shape"), offsets = value.find("data_offsets");
  if (dtype == value.end() || !dtype->is_string()) return bad("expected a dtype");
  if (shape == value.end() || !shape->is_array() || shape->size() > kDimensionsMax) {
    return bad(fmt::format("expected a shape of at most {} dimensions", kDimensionsMax));
  }
  if (offsets == value.end() || !offsets->is_array() || offsets->size() != 2 || !(*offsets)[0].is_number_unsigned() ||
      !(*offsets)[1].is_number_unsigned()) {
    return bad("expected data_offsets [begin, end]");
  }
  const std::string element = dtype->get<std::string>();
  const auto known =
      std::find_if(kElements.begin(), kElements.end(), [&](const Element& e) { return e.name == element; });
  if (known == kElements.end()) return bad(fmt::format("unknown dtype {}", element));
  Placed placed;
  placed.entry.name = name;
  placed.entry.element = element;
  placed.entry.format = known->format;
  int64_t bytes = known->bytes;
  for (const Json& extent : *shape) {
    if (!extent.is_number_unsigned()) return bad("expected a shape of whole numbers");
    const uint64_t n = extent.get<uint64_t>();
    if (n > static_cast<uint64_t>(INT64_MAX) || __builtin_mul_overflow(bytes, static_cast<int64_t>(n), &bytes))
      return bad("shape too large");
    placed.entry.shape.push_back(static_cast<int64_t>(n));
  }
  const uint64_t begin = (*offsets)[0].get<uint64_t>(), end = (*offsets)[1].get<uint64_t>();
  if (begin > end || end > static_cast<uint64_t>(data_bytes)) {
    return bad(fmt::format("data_offsets [{}, {}] lie outside the {} bytes of data in the file; is it cut off?", begin,
                           end, data_bytes));
  }
  if (end - begin != static_cast<uint64_t>(bytes)) {
    return bad(fmt::format("{} {} needs {} bytes, data_offsets hold {}", element, shape_text(placed.entry.shape), bytes,
                           end - begin));
  }
  placed.begin = static_cast<int64_t>(begin);
  placed.end = static_cast<int64_t>(end);
  return placed;
}

}  // namespace

Result<std::vector<TensorEntry>> parse_safetensors(std::span<const std::byte> file, std::string_view source) {
  uint64_t header_bytes = 0;
  if (file.size() < sizeof(header_bytes)) {
    return corrupt(source, fmt::format("expected a safetensors file, found {} bytes", file.size()));
  }
  std::memcpy(&header_bytes, file.data(), sizeof(header_bytes));
  if (header_bytes > static_cast<uint64_t>(kLimits.safetensors_header_bytes_max) ||
      header_bytes > file.size() - sizeof(header_bytes)) {
    return corrupt(source,
                   fmt::format("not a safetensors file, or cut off: the header claims {} bytes, the file has {}",
                               header_bytes, file.size()));
  }
  const std::string_view header(reinterpret_cast<const char*>(file.data()) + sizeof(header_bytes), header_bytes);
  ASSIGN_OR_RETURN(const Json json, parse_json(header, fmt::format("{}: header", source)));
  if (!json.is_object()) return corrupt(source, "header: expected a JSON object");
  const std::span<const std::byte> data = file.subspan(sizeof(header_bytes) + header_bytes);
  std::vector<Placed> placed;
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__") continue;
    ASSIGN_OR_RETURN(Placed entry, read_entry(name, value, static_cast<int64_t>(data.size()), source));
    entry.entry.bytes = data.subspan(static_cast<size_t>(entry.begin), static_cast<size_t>(entry.end - entry.begin));
    placed.push_back(std::move(entry));
  }
  // The format allows neither gaps nor overlaps, so a damaged header cannot make two tensors share bytes.
  std::sort(placed.begin(), placed.end(),
            [](const Placed& a, const Placed& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  int64_t at = 0;
  std::vector<TensorEntry> entries;
  entries.reserve(placed.size());
  for (Placed& p : placed) {
    if (p.begin != at)
      return corrupt(source,
                     fmt::format("tensor {} starts at byte {} of the data, expected {}", p.entry.name, p.begin, at));
    at = p.end;
    entries.push_back(std::move(p.entry));
  }
  if (at != static_cast<int64_t>(data.size())) {
    return corrupt(source, fmt::format("the header describes {} bytes of data, the file holds {}", at, data.size()));
  }
  return entries;
}

}  // namespace lapidary
