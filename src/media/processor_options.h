// processor_config.json -> how this model's media are prepared.
#pragma once

#include <filesystem>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "media/options.h"

namespace lapidary {

struct ProcessorOptions {
  ImageOptions image;
  VideoOptions video;
  AudioOptions audio;
};

// Reads the sections image_processor, video_processor and feature_extractor; what is missing keeps the released
// models' value. source names the document in messages. Errors: kCorruptFile for values of a wrong type or out of
// range, a soft-token budget outside kSoftTokenBudgets, and for settings this room does not implement (a resampling
// filter other than bicubic, another rescaling factor, a normalisation that does something, another sampling rate,
// dither, pre-emphasis). Only the extractor of the models with a conformer sets AudioOptions::mel.
Result<ProcessorOptions> parse_processor_options(const Json& document, const std::string& source);

// Of a model directory: its processor_config.json; the defaults when there is none. Errors: as above, and kCorruptFile
// for text that is not JSON.
Result<ProcessorOptions> read_processor_options(const std::filesystem::path& model_directory);

}  // namespace lapidary
