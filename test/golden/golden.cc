#include "test/golden/golden.h"

#include <cstdlib>
#include <fstream>
#include <functional>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "glog/logging.h"

namespace lisafs::golden {
namespace {

// A line, taken word by word; Rest is what was not taken yet. Never a temporary: it views its own
// text.
class Line {
 public:
  explicit Line(std::string text) : text_(std::move(text)), rest_(text_) {}

  std::string Word() {
    const size_t end = rest_.find(' ');
    const std::string word(rest_.substr(0, end));
    rest_ = end == absl::string_view::npos ? absl::string_view() : rest_.substr(end + 1);
    return word;
  }
  std::string Rest() const { return std::string(rest_); }

 private:
  const std::string text_;
  absl::string_view rest_;
};

void ForEachLine(absl::string_view file,
                 const std::function<void(const std::string& kind, Line& line)>& visit) {
  // Not relative to the working directory, which a server in this process may change.
  const char* const runfiles = getenv("TEST_SRCDIR");
  const char* const workspace = getenv("TEST_WORKSPACE");
  CHECK(runfiles != nullptr && workspace != nullptr) << "run me by `bazel test`";
  const std::string path = absl::StrCat(runfiles, "/", workspace, "/test/golden/lisafs/", file);
  std::ifstream stream(path);
  CHECK(stream.is_open()) << path << " is not among the test's data";
  std::string text;
  while (std::getline(stream, text)) {
    if (text.empty() || text[0] == '#') continue;
    Line line(text);
    const std::string kind = line.Word();
    visit(kind, line);
  }
}

template <typename T>
T Number(absl::string_view text) {
  T value;
  CHECK(absl::SimpleAtoi(text, &value)) << "not a number: " << text;
  return value;
}

uint32_t Octal(const std::string& text) {
  return text == "-" ? 0 : static_cast<uint32_t>(std::stoul(text, nullptr, 8));
}

std::string Text(absl::string_view hex) { return hex == "-" ? "" : absl::HexStringToBytes(hex); }

Bytes ToBytes(absl::string_view hex) {
  const std::string text = Text(hex);
  const auto* const begin = reinterpret_cast<const std::byte*>(text.data());
  return Bytes(begin, begin + text.size());
}

std::vector<Vector> ReadVectorFile(absl::string_view file, absl::string_view start) {
  std::vector<Vector> vectors;
  ForEachLine(file, [&](const std::string& kind, Line& line) {
    if (kind == start) {
      Vector vector;
      vector.message = line.Word();
      vector.direction = line.Word();
      if (kind == "vector") vector.versions = line.Word();
      vector.name = line.Rest();
      vectors.push_back(vector);
    } else if (kind == "field") {
      const std::pair<std::string, std::string> field =
          absl::StrSplit(line.Rest(), absl::MaxSplits('=', 1));
      vectors.back().fields.insert(field);
    } else if (kind == "bytes") {
      vectors.back().bytes = ToBytes(line.Word());
    } else {
      LOG(FATAL) << file << ": unknown line: " << kind;
    }
  });
  return vectors;
}

GoldenReply ReadReply(Line& line) {
  GoldenReply reply;
  reply.versions = line.Word();
  const std::string donated = line.Word();
  if (donated != "-") {
    for (const absl::string_view one : absl::StrSplit(donated, ',')) {
      const std::pair<std::string, std::string> parts = absl::StrSplit(one, ':');
      reply.donated.push_back(
          {.type = parts.first, .flags = static_cast<int>(Octal(parts.second))});
    }
  }
  const std::string ignore = line.Word();
  if (ignore != "-") {
    for (const absl::string_view one : absl::StrSplit(ignore, ',')) {
      const std::pair<std::string, std::string> parts = absl::StrSplit(one, '+');
      reply.ignore.emplace_back(Number<size_t>(parts.first), Number<size_t>(parts.second));
    }
  }
  reply.frame = ToBytes(line.Word());
  return reply;
}

TreeEntry ReadTreeEntry(Line& line) {
  TreeEntry entry;
  entry.path = line.Word();
  entry.type = line.Word();
  entry.mode = Octal(line.Word());
  const std::pair<std::string, std::string> owner = absl::StrSplit(line.Word(), ':');
  entry.uid = Number<uint32_t>(owner.first);
  entry.gid = Number<uint32_t>(owner.second);
  entry.data = Text(line.Word());
  return entry;
}

}  // namespace

std::vector<Vector> ReadVectors() { return ReadVectorFile("vectors.txt", "vector"); }
std::vector<Vector> ReadHeaders() { return ReadVectorFile("headers.txt", "header"); }

std::vector<Struct> ReadStructs() {
  std::vector<Struct> structs;
  ForEachLine("structs.txt", [&](const std::string& kind, Line& line) {
    if (kind == "struct") {
      const std::string name = line.Word();
      structs.push_back({.name = name, .size = Number<size_t>(line.Word()), .members = {}});
    } else {
      const std::string name = line.Word();
      const std::string type = line.Word();
      structs.back().members.push_back(
          {.name = name, .type = type, .offset = Number<size_t>(line.Word())});
    }
  });
  return structs;
}

std::vector<ChannelStep> ReadChannelSteps() {
  std::vector<ChannelStep> steps;
  ForEachLine("channel.txt", [&](const std::string& kind, Line& line) {
    if (kind == "step") {
      ChannelStep step;
      line.Word();  // the number
      step.direction = line.Word();
      step.versions = line.Word();
      step.data_len = Number<uint32_t>(line.Word());
      step.state_after = Number<uint32_t>(line.Word());
      step.donated_fds = Number<size_t>(line.Word());
      step.truncated = line.Word() == "truncated";
      step.what = line.Rest();
      steps.push_back(step);
    } else {
      steps.back().bytes = ToBytes(line.Word());
    }
  });
  return steps;
}

std::vector<Transcript> ReadTranscripts() {
  std::vector<Transcript> transcripts;
  ForEachLine("transcripts.txt", [&](const std::string& kind, Line& line) {
    if (kind == "transcript") {
      transcripts.push_back({.name = line.Rest(), .options = {}, .tree = {}, .steps = {}});
      return;
    }
    Transcript& current = transcripts.back();
    if (kind == "option") {
      const std::pair<std::string, std::string> option = absl::StrSplit(line.Rest(), '=');
      current.options.insert(option);
    } else if (kind == "tree") {
      current.tree.push_back(ReadTreeEntry(line));
    } else if (kind == "xattr") {
      const std::string path = line.Word();
      const std::string name = line.Word();
      CHECK_EQ(current.tree.back().path, path) << "an xattr line follows its file";
      current.tree.back().xattrs[name] = Text(line.Word());
    } else if (kind == "step") {
      TranscriptStep step;
      step.message = line.Word();
      step.note = line.Rest();
      current.steps.push_back(step);
    } else if (kind == "send") {
      current.steps.back().send = ToBytes(line.Word());
    } else if (kind == "reply") {
      current.steps.back().replies.push_back(ReadReply(line));
    } else if (kind == "connect") {
      TranscriptStep step;
      step.message = "connect";
      step.connect_to = line.Word();
      step.connect_text = Text(line.Word());
      current.steps.push_back(step);
    } else {
      LOG(FATAL) << "transcripts.txt: unknown line: " << kind;
    }
  });
  return transcripts;
}

bool IsFor(absl::string_view versions, absl::string_view version) {
  for (const absl::string_view one : absl::StrSplit(versions, ',')) {
    if (one == version) return true;
  }
  return false;
}

std::string ToHex(const Bytes& bytes) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

}  // namespace lisafs::golden
