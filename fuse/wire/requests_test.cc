#include "fuse/wire/requests.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <functional>
#include <string>

#include "gtest/gtest.h"
#include "test/golden/golden_requests.h"

namespace gofer::fuse {
namespace {

Payload AsPayload(absl::string_view text) { return std::as_bytes(std::span(text)); }

template <typename T>
std::string Bytes(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

using Decoder = std::function<absl::Status(Payload, uint16_t)>;

// The decoder of each opcode that has one, as a status. `ext` is whether SETXATTR_EXT was granted.
Decoder DecoderOf(Opcode opcode, bool ext) {
  const auto fixed = [](auto type) -> Decoder {
    return [](Payload payload, uint16_t) {
      return DecodeFixed<decltype(type)>("test", payload).status();
    };
  };
  const auto create = [](auto type) -> Decoder {
    return [](Payload payload, uint16_t extlen) {
      return DecodeCreate<decltype(type)>("test", payload, extlen).status();
    };
  };
  switch (opcode) {
    case Opcode::kInit:
      return [](Payload payload, uint16_t) { return DecodeInit(payload).status(); };
    case Opcode::kLookup:
    case Opcode::kUnlink:
    case Opcode::kRmdir:
    case Opcode::kRemovexattr:
      return [](Payload payload, uint16_t) { return DecodeName("test", payload).status(); };
    case Opcode::kForget:
      return fixed(ForgetIn{});
    case Opcode::kGetattr:
      return fixed(GetattrIn{});
    case Opcode::kSetattr:
      return fixed(SetattrIn{});
    case Opcode::kStatx:
      return fixed(StatxIn{});
    case Opcode::kSymlink:
      return
          [](Payload payload, uint16_t extlen) { return DecodeSymlink(payload, extlen).status(); };
    case Opcode::kMknod:
      return create(MknodIn{});
    case Opcode::kMkdir:
      return create(MkdirIn{});
    case Opcode::kCreate:
    case Opcode::kTmpfile:
      return create(CreateIn{});
    case Opcode::kRename:
      return
          [](Payload payload, uint16_t) { return DecodePair<RenameIn>("test", payload).status(); };
    case Opcode::kRename2:
      return
          [](Payload payload, uint16_t) { return DecodePair<Rename2In>("test", payload).status(); };
    case Opcode::kLink:
      return
          [](Payload payload, uint16_t) { return DecodeNamed<LinkIn>("test", payload).status(); };
    case Opcode::kOpen:
    case Opcode::kOpendir:
      return fixed(OpenIn{});
    case Opcode::kRead:
    case Opcode::kReaddir:
    case Opcode::kReaddirplus:
      return fixed(ReadIn{});
    case Opcode::kFlush:
      return fixed(FlushIn{});
    case Opcode::kRelease:
    case Opcode::kReleasedir:
      return fixed(ReleaseIn{});
    case Opcode::kFsync:
      return fixed(FsyncIn{});
    case Opcode::kSetxattr:
      return [ext](Payload payload, uint16_t) { return DecodeSetxattr(payload, ext).status(); };
    case Opcode::kGetxattr:
      return [](Payload payload, uint16_t) {
        return DecodeNamed<GetxattrIn>("test", payload).status();
      };
    case Opcode::kListxattr:
      return fixed(GetxattrIn{});
    case Opcode::kSetlk:
    case Opcode::kSetlkw:
      return fixed(LkIn{});
    case Opcode::kIoctl:
      return [](Payload payload, uint16_t) { return DecodeIoctl(payload).status(); };
    case Opcode::kFallocate:
      return fixed(FallocateIn{});
    case Opcode::kLseek:
      return fixed(LseekIn{});
    case Opcode::kCopyFileRange:
      return fixed(CopyFileRangeIn{});
    default:
      return nullptr;  // no arguments, or data that stays where it is
  }
}

TEST(Requests, WhatARealClientSendsIsDecodedAndNoStrictPrefixOfItIs) {
  size_t decoded = 0;
  for (const golden::Request& request : golden::ReadRequests()) {
    const Decoder decode = DecoderOf(request.opcode, request.name == "SETXATTR_EXT granted");
    if (!decode) continue;
    const Payload args = AsPayload(request.args());
    EXPECT_EQ(request.header().len, request.bytes.size());
    const uint16_t extlen = request.header().total_extlen;
    const absl::Status whole = decode(args, extlen);
    EXPECT_TRUE(whole.ok()) << OpcodeName(request.opcode) << " " << request.name << ": " << whole;
    for (size_t size = 0; size < args.size(); ++size) {
      // INIT of older clients ends before the second word of flags.
      if (request.opcode == Opcode::kInit && size >= sizeof(InitIn) + sizeof(InitExtIn)) continue;
      EXPECT_FALSE(decode(args.first(size), extlen).ok())
          << OpcodeName(request.opcode) << " " << request.name << ", prefix of " << size;
    }
    ++decoded;
  }
  EXPECT_GE(decoded, 50u);
}

TEST(Requests, GoldenFields) {
  const golden::Request lookup = golden::Find(Opcode::kLookup);
  EXPECT_EQ(lookup.header().nodeid, NodeId::kRoot);
  EXPECT_EQ(lookup.header().uid, kNoClientId);
  EXPECT_EQ(*DecodeName("LOOKUP", AsPayload(lookup.args())), "a");

  const auto init = DecodeInit(AsPayload(golden::Find(Opcode::kInit).args()));
  EXPECT_EQ(init->fixed.major, 7u);
  EXPECT_EQ(init->fixed.minor, 45u);
  EXPECT_EQ(init->flags & 0xffffffff, 0x73fffffbu);
  EXPECT_NE(init->flags & init::kAllowIdmap, 0u);

  const golden::Request created = golden::Find(Opcode::kCreate);
  EXPECT_EQ(created.header().uid, 0u);
  const auto create = DecodeCreate<CreateIn>("CREATE", AsPayload(created.args()), 0);
  EXPECT_EQ(create->fixed.mode, S_IFREG | 0666u);
  EXPECT_EQ(create->fixed.umask, 022u);
  EXPECT_EQ(create->fixed.flags, 0100000u | O_CREAT | O_WRONLY | O_TRUNC);
  EXPECT_EQ(create->name, "a");

  // What is decoded points into the request.
  const golden::Request renamed = golden::Find(Opcode::kRename2);
  const auto rename = DecodePair<Rename2In>("RENAME2", AsPayload(renamed.args()));
  EXPECT_EQ(rename->first, "a");
  EXPECT_EQ(rename->second, "b");
  EXPECT_EQ(rename->fixed.flags, 1u);

  const golden::Request linked = golden::Find(Opcode::kLink);
  const auto link = DecodeNamed<LinkIn>("LINK", AsPayload(linked.args()));
  EXPECT_EQ(link->name, "c");
  EXPECT_EQ(link->fixed.oldnodeid, NodeId{0x100000000});

  const golden::Request symlinked = golden::Find(Opcode::kSymlink);
  const auto symlink = DecodeSymlink(AsPayload(symlinked.args()), 0);
  EXPECT_EQ(symlink->name, "s") << "the name comes first, then the target";
  EXPECT_EQ(symlink->target, "b");

  const auto times = DecodeFixed<SetattrIn>(
      "SETATTR", AsPayload(golden::Find(Opcode::kSetattr, "plain 3").args()));
  EXPECT_EQ(times->valid, setattr::kAtime | setattr::kMtime);
  EXPECT_EQ(times->atime, 12345u);
  EXPECT_EQ(times->mtime, 12345u);

  const auto owner = DecodeFixed<SetattrIn>(
      "SETATTR", AsPayload(golden::Find(Opcode::kSetattr, "plain 2").args()));
  EXPECT_EQ(owner->uid, 5u);
  EXPECT_EQ(owner->gid, 6u);

  const golden::Request old_request = golden::Find(Opcode::kSetxattr);
  const golden::Request new_request = golden::Find(Opcode::kSetxattr, "SETXATTR_EXT granted");
  const auto old_set = DecodeSetxattr(AsPayload(old_request.args()), /*setxattr_ext=*/false);
  const auto new_set = DecodeSetxattr(AsPayload(new_request.args()), /*setxattr_ext=*/true);
  for (const auto& set : {old_set, new_set}) {
    EXPECT_EQ(set->name, "user.x");
    EXPECT_EQ(set->value.size(), 1u);
    EXPECT_EQ(set->value[0], std::byte{'y'});
  }

  const golden::Request labelled = golden::Find(Opcode::kCreate, "SECURITY_CTX granted");
  EXPECT_EQ(labelled.header().total_extlen, 1);
  const auto label = DecodeCreate<CreateIn>("CREATE", AsPayload(labelled.args()), 1);
  EXPECT_EQ(label->extensions.context_name, "") << "no security module, no label";
}

TEST(Requests, ATailIsForNewerClientsButNotBehindNames) {
  EXPECT_TRUE(DecodeFixed<OpenIn>("OPEN", AsPayload(Bytes(OpenIn{}) + "more")).ok());
  EXPECT_FALSE(DecodeName("LOOKUP", AsPayload(absl::string_view("a\0b\0", 4))).ok());
  EXPECT_FALSE(DecodeName("LOOKUP", AsPayload("no nul")).ok());
  EXPECT_TRUE(DecodeName("LOOKUP", AsPayload(absl::string_view("\0", 1))).ok())
      << "Name refuses it";
  EXPECT_FALSE(
      DecodePair<RenameIn>("RENAME", AsPayload(Bytes(RenameIn{}) + std::string("a\0b\0c", 5)))
          .ok());
}

TEST(Requests, InitWithoutExtensionHasNoSecondWord) {
  const InitIn in = {.major = 7, .minor = 31, .max_readahead = 1, .flags = 5};
  EXPECT_EQ(DecodeInit(AsPayload(Bytes(in)))->flags, 5u);
  InitExtIn ext = {};
  ext.flags2 = 9;
  EXPECT_EQ(DecodeInit(AsPayload(Bytes(in) + Bytes(ext)))->flags, 5u);
  const InitIn with_ext = {.major = 7, .minor = 36, .max_readahead = 1, .flags = 1u << 30};
  EXPECT_FALSE(DecodeInit(AsPayload(Bytes(with_ext))).ok());
  EXPECT_EQ(DecodeInit(AsPayload(Bytes(with_ext) + Bytes(ext)))->flags, 9ull << 32 | 1u << 30);
}

TEST(Requests, SetxattrCountsItsValue) {
  const std::string fixed = Bytes(SetxattrIn{.size = 3, .flags = 0});
  const std::string name("user.k\0", 7);
  EXPECT_TRUE(DecodeSetxattr(AsPayload(fixed + name + "abc"), false).ok());
  EXPECT_FALSE(DecodeSetxattr(AsPayload(fixed + name + "ab"), false).ok());
  EXPECT_FALSE(DecodeSetxattr(AsPayload(fixed + name + "abcd"), false).ok());
  EXPECT_FALSE(DecodeSetxattr(AsPayload(fixed + name + "abc"), true).ok());
}

// ---- extensions

std::string Padded(std::string bytes) {
  bytes.resize((bytes.size() + 7) / 8 * 8);
  return bytes;
}
std::string Block(uint32_t type, const std::string& body) {
  const std::string padded = Padded(body);
  return Bytes(ExtHeader{.size = static_cast<uint32_t>(8 + padded.size()), .type = type}) + padded;
}
std::string Context(absl::string_view name, absl::string_view value) {
  std::string bytes =
      Bytes(SecurityContext{.size = static_cast<uint32_t>(value.size()), .padding = 0});
  bytes.append(name.data(), name.size());
  bytes.push_back('\0');
  bytes.append(value.data(), value.size());
  return bytes;
}
std::string Groups(std::initializer_list<uint32_t> groups) {
  std::string bytes = Bytes(static_cast<uint32_t>(groups.size()));
  for (const uint32_t group : groups) bytes += Bytes(group);
  return bytes;
}

absl::StatusOr<CreateReq<MkdirIn>> WithTail(const std::string& tail, uint16_t extlen,
                                            std::string& buffer) {
  buffer = Bytes(MkdirIn{}) + std::string("dir\0", 4) + tail;
  return DecodeCreate<MkdirIn>("MKDIR", AsPayload(buffer), extlen);
}

TEST(Extensions, AreReadInAnyCombination) {
  std::string buffer;
  const std::string context = Block(1, Context("security.selinux", "label"));
  const std::string groups = Block(kExtGroups, Groups({77}));
  for (const bool counted : {false, true}) {
    for (const std::string& tail : {context, groups, context + groups, std::string()}) {
      const auto extlen = static_cast<uint16_t>(counted ? tail.size() / 8 : 0);
      const auto request = WithTail(tail, extlen, buffer);
      ASSERT_TRUE(request.ok()) << request.status();
      const bool has_context = tail.find("selinux") != std::string::npos;
      EXPECT_EQ(request->extensions.context_name, has_context ? "security.selinux" : "");
      EXPECT_EQ(request->extensions.context_value.size(), has_context ? 5u : 0u);
      EXPECT_EQ(request->extensions.group.has_value(),
                tail.size() != context.size() && !tail.empty());
      EXPECT_EQ(request->extensions.group.value_or(77), 77u);
    }
  }
}

TEST(Extensions, NoContextAndNoGroupAreLegal) {
  std::string buffer;
  const auto request = WithTail(Block(0, "") + Block(kExtGroups, Groups({})), 3, buffer);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->extensions.context_name, "");
  EXPECT_FALSE(request->extensions.group.has_value());
}

TEST(Extensions, WhatIsMalformedIsRefused) {
  std::string buffer;
  const std::string context = Block(1, Context("security.selinux", "label"));
  const std::string groups = Block(kExtGroups, Groups({77}));
  const std::string kTails[] = {
      context + context,                                 // twice
      groups + groups,                                   //
      Block(33, ""),                                     // no such kind
      Block(2, Context("a", "b") + Context("c", "d")),   // which one?
      Block(kExtGroups, Groups({1, 2})),                 //
      Block(1, Context("", "label")),                    // a label of no kind
      Bytes(ExtHeader{.size = 4, .type = 0}),            // shorter than itself
      Bytes(ExtHeader{.size = 0, .type = 0}),            //
      Bytes(ExtHeader{.size = 12, .type = 0}) + "1234",  // not whole
      Bytes(ExtHeader{.size = 4096, .type = 0}),         // longer than there is
      Bytes(ExtHeader{.size = 0xfffffff8, .type = 0}),   //
      Block(1, Bytes(SecurityContext{.size = 0xffffffff, .padding = 0}) + std::string("a\0", 2)),
      Block(1, Bytes(SecurityContext{.size = 1, .padding = 0}) + "aaaaaaaa"),  // no NUL
      Block(kExtGroups, Bytes(uint32_t{0xffffffff}) + Bytes(uint32_t{1})),
      "1234567",
  };
  for (const std::string& tail : kTails) {
    EXPECT_FALSE(WithTail(tail, 0, buffer).ok()) << tail.size();
  }
  EXPECT_FALSE(WithTail(groups, 1, buffer).ok()) << "the header says another length";
  EXPECT_FALSE(WithTail("", 1, buffer).ok());
  for (size_t size = 1; size < context.size(); ++size) {
    EXPECT_FALSE(WithTail(context.substr(0, size), 0, buffer).ok()) << size;
  }
}

}  // namespace
}  // namespace gofer::fuse
