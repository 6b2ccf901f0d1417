#include "http/multipart.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "http/field_parameters.h"

namespace lapidary {
namespace {

const std::string kType = "multipart/form-data; boundary=B";

std::string part(const std::string& disposition, const std::string& body, const std::string& more = "") {
  return "--B\r\nContent-Disposition: form-data; " + disposition + "\r\n" + more + "\r\n" + body + "\r\n";
}

TEST(Multipart, ReadsFieldsAndFilesInAnyOrder) {
  const std::string file("\x00\r\n--\r\n--Bx\r\n--C\r\n\xff", 19);
  const std::string body =
      part(R"(name="file"; filename="speech.wav")", file, "CONTENT-type: application/octet-stream\r\n") +
      part(R"(name="model")", "gemma") + part("name=empty", "") + part("filename=f; name=file2", "") + "--B--\r\n";
  const auto parts = parse_multipart(kType, body);
  ASSERT_TRUE(parts) << parts.error().message;
  ASSERT_EQ(parts->size(), 4u);
  EXPECT_EQ((*parts)[0].name, "file");
  EXPECT_EQ((*parts)[0].filename, "speech.wav");
  EXPECT_EQ((*parts)[0].content_type, "application/octet-stream");
  EXPECT_EQ((*parts)[0].body, file);
  EXPECT_EQ((*parts)[1].name, "model");
  EXPECT_EQ((*parts)[1].filename, std::nullopt);
  EXPECT_EQ((*parts)[1].body, "gemma");
  EXPECT_EQ((*parts)[2].body, "");
  EXPECT_EQ((*parts)[3].filename, "f");
  EXPECT_EQ((*parts)[3].body, "");
}

TEST(Multipart, IgnoresPreambleAndEpilogue) {
  const std::string body = part("name=a", "1") + "--B--";
  for (const std::string& text :
       {body, "hello\r\n" + body, "\r\n" + body, body + "\r\nbye --B\r\n--B\r\n", "--Bogus\r\nnot a part\r\n" + body}) {
    const auto parts = parse_multipart(kType, text);
    ASSERT_TRUE(parts) << text << parts.error().message;
    ASSERT_EQ(parts->size(), 1u) << text;
    EXPECT_EQ((*parts)[0].body, "1");
  }
  EXPECT_TRUE(parse_multipart(kType, "--B--")->empty());
}

TEST(Multipart, ReadsBoundariesQuotedOrNot) {
  for (const auto& [type, boundary] : std::vector<std::pair<std::string, std::string>>{
           {"Multipart/Form-Data; charset=utf-8; Boundary=\"a b:c\"", "a b:c"},
           {"multipart/form-data;boundary=----WebKitFormBoundary7MA4YWxk", "----WebKitFormBoundary7MA4YWxk"},
           {"multipart/form-data; boundary====x==", "===x=="},
           {"multipart/form-data; boundary=" + std::string(70, 'b'), std::string(70, 'b')}}) {
    const std::string body =
        "--" + boundary + " \t\r\ncontent-disposition:form-data;NAME=\"x\"\r\n\r\ny\r\n--" + boundary + "--";
    const auto parts = parse_multipart(type, body);
    ASSERT_TRUE(parts) << type << parts.error().message;
    EXPECT_EQ((*parts)[0].body, "y");
  }
  for (const char* type : {"multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\"x",
                           "multipart/form-data; boundary=\"x \"", "multipart/form-data; boundary=a; boundary=b",
                           "multipart/form-data; boundary=a\\b", "multipart/form-data; boundary",
                           "multipart/form-data; boundary=\"a\"b"}) {
    EXPECT_EQ(parse_multipart(type, "--B--").error().code, ErrorCode::kInvalidArgument) << type;
  }
  EXPECT_FALSE(parse_multipart("multipart/form-data; boundary=" + std::string(71, 'b'), "--B--"));
  for (const char* type : {"", "application/json", "multipart/mixed; boundary=B", "text/plain"})
    EXPECT_EQ(parse_multipart(type, "--B--").error().code, ErrorCode::kUnsupported) << type;
}

TEST(Multipart, ReadsFileNames) {
  const auto name = [](const std::string& disposition) {
    const auto parts = parse_multipart(kType, part(disposition, "x") + "--B--");
    return parts ? (*parts)[0].filename.value_or("(none)") : "error: " + parts.error().message;
  };
  EXPECT_EQ(name(R"(name="a"; filename="a\"b\\c.wav")"), "a\"b\\c.wav");
  EXPECT_EQ(name(R"(name="a"; filename="C:\dir\f.wav")"), "C:\\dir\\f.wav");
  EXPECT_EQ(name(R"(name="a"; filename="x;y.wav")"), "x;y.wav");
  EXPECT_EQ(name("name=a; filename=plain.wav; filename*=UTF-8'en'caf%C3%A9.wav"), "caf\xc3\xa9.wav");
  EXPECT_EQ(name("name=a; filename*=iso-8859-1''caf%E9"), "caf\xc3\xa9");
  EXPECT_EQ(name("name=a; filename=\"caf\xc3\xa9\""), "caf\xc3\xa9");
  EXPECT_EQ(name("name=a; filename=\"\""), "");
  EXPECT_EQ(name("name=a"), "(none)");
  for (const char* wrong : {"name=a; filename*=x", "name=a; filename*=utf-8''%zz", "name=a; filename*=utf-8''%ff",
                            "name=a; filename*=koi8-r''x", "name=a; name=b", "filename=x", "name=\"a"})
    EXPECT_EQ(name(wrong).substr(0, 6), "error:") << wrong;
}

TEST(Multipart, RefusesDamage) {
  const std::string good = part("name=a", "1") + "--B--\r\n";
  std::string lf_only = good;
  for (size_t at; (at = lf_only.find('\r')) != std::string::npos;) lf_only.erase(at, 1);
  for (const std::string& body :
       {std::string(), std::string("--B"), std::string("--B\r\n"), part("name=a", "1"), lf_only,
        std::string("--B\r\n\r\nno head\r\n--B--"), std::string("--B\r\nContent-Type: x\r\n\r\nno name\r\n--B--"),
        std::string("--B\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n--B--"),
        std::string("--B\r\nContent-Disposition: form-data; name=a\nX: y\r\n\r\nx\r\n--B--"),
        std::string("--B\r\nContent-Disposition: form-data;\r\n name=a\r\n\r\nx\r\n--B--"),
        std::string("--B\r\nContent-Disposition: form-data; name=a\r\nX\r\n\r\nx\r\n--B--"),
        part("name=a", "x", "Content-Disposition: form-data; name=b\r\n") + "--B--",
        part("name=a", "eA==", "Content-Transfer-Encoding: base64\r\n") + "--B--", part("name=a", "\xff") + "--B--",
        part("name=\"\xff\"", "x") + "--B--"}) {
    const auto parts = parse_multipart(kType, body);
    ASSERT_FALSE(parts) << body;
    EXPECT_EQ(parts.error().code, ErrorCode::kInvalidArgument) << body;
  }
}

TEST(Multipart, IsBounded) {
  std::string many;
  for (int i = 0; i < 64; ++i) many += part("name=a", "1");
  EXPECT_TRUE(parse_multipart(kType, many + "--B--"));
  EXPECT_EQ(parse_multipart(kType, many + part("name=a", "1") + "--B--").error().code, ErrorCode::kExhausted);
  const std::string large(1 << 20, 'x');
  EXPECT_TRUE(parse_multipart(kType, part("name=a", large) + "--B--"));
  EXPECT_EQ(parse_multipart(kType, part("name=a", large + "x") + "--B--").error().code, ErrorCode::kExhausted);
  EXPECT_TRUE(parse_multipart(kType, part("name=a; filename=f", large + large) + "--B--"));
  EXPECT_EQ(parse_multipart(kType, part("name=a", "x", "X: " + large + "\r\n") + "--B--").error().code,
            ErrorCode::kExhausted);
}

TEST(FieldParameters, ReadsValuesAndParameters) {
  const auto field = parse_field_value(" Text/HTML ;; charset = \"utf-8\" ; q=0.5 ;");
  ASSERT_TRUE(field);
  EXPECT_EQ(field->value, "text/html");
  EXPECT_EQ(*field->parameter("charset"), "utf-8");
  EXPECT_EQ(*field->parameter("q"), "0.5");
  EXPECT_EQ(parse_field_value("")->value, "");
}

}  // namespace
}  // namespace lapidary
