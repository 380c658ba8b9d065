#include "gofer/base/json.h"

#include "gtest/gtest.h"

namespace gofer {
namespace {

TEST(JsonQuote, OnlyUtf8ComesOut) {
  EXPECT_EQ(JsonQuote(""), "\"\"");
  EXPECT_EQ(JsonQuote("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"),
            "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
  EXPECT_EQ(JsonQuote("\\\"\t\x7f"), R"("\\\"\u0009\u007f")");
  EXPECT_EQ(JsonQuote("a\xff"), R"("a\ufffd")");
  EXPECT_EQ(JsonQuote("\xc3"), R"("\ufffd")") << "cut off";
  EXPECT_EQ(JsonQuote("\xc0\xaf"), R"("\ufffd\ufffd")") << "overlong";
  EXPECT_EQ(JsonQuote("\xed\xa0\x80"), R"("\ufffd\ufffd\ufffd")") << "a surrogate";
  EXPECT_EQ(JsonQuote("\xf4\x90\x80\x80"), R"("\ufffd\ufffd\ufffd\ufffd")") << "above U+10FFFF";
}

TEST(IsUtf8, TellsTextFromBytes) {
  EXPECT_TRUE(IsUtf8(""));
  EXPECT_TRUE(IsUtf8("plain, \xc3\xa4"));
  EXPECT_FALSE(IsUtf8("a\xff"));
  EXPECT_FALSE(IsUtf8("\xed\xa0\x80"));
}

}  // namespace
}  // namespace gofer
