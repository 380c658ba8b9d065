// Runs a fuzz target's function over the files named on the command line, one test case for each:
// what the fuzzer once found stays found in every build. Source: libFuzzer's interface,
// LLVMFuzzerTestOneInput() and the optional LLVMFuzzerInitialize().

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "glog/logging.h"
#include "gtest/gtest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" __attribute__((weak)) int LLVMFuzzerInitialize(int* argc, char*** argv);

namespace {

class CorpusFile : public testing::Test {
 public:
  explicit CorpusFile(std::string path) : path_(std::move(path)) {}

  void TestBody() override {
    std::ifstream file(path_, std::ios::binary);
    ASSERT_TRUE(file.is_open()) << path_;
    // On the heap and of the exact size, so that AddressSanitizer sees one byte too far.
    const std::vector<char> input{std::istreambuf_iterator<char>(file),
                                  std::istreambuf_iterator<char>()};
    EXPECT_EQ(LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size()),
              0);
  }

 private:
  const std::string path_;
};

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  FLAGS_logtostderr = true;
  google::InitGoogleLogging(argv[0]);
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kAbort);
  if (LLVMFuzzerInitialize != nullptr) LLVMFuzzerInitialize(&argc, &argv);
  CHECK_GT(argc, 1) << "no corpus files; usage: " << argv[0] << " FILE...";
  for (int i = 1; i < argc; ++i) {
    // Absolute: what is tested may change the working directory.
    const std::string path = std::filesystem::absolute(argv[i]).string();
    const std::string name = path.substr(path.rfind('/') + 1);
    testing::RegisterTest("Corpus", name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                          [path]() -> testing::Test* { return new CorpusFile(path); });
  }
  return RUN_ALL_TESTS();
}
