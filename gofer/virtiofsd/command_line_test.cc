// Every option in every form: what it does to the options of the service, or why it is refused.

#include "gofer/virtiofsd/command_line.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gofer/server/options.pb.h"
#include "gtest/gtest.h"

namespace gofer::virtiofsd {
namespace {

using server::FusePolicy;
using Action = CommandLine::Action;

// With what every line needs, and words separated by blanks.
std::vector<std::string> Words(absl::string_view text) {
  std::vector<std::string> words = {"--shared-dir=/srv", "--socket-path=/run/vfs.sock"};
  for (const absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    words.emplace_back(word);
  }
  return words;
}

CommandLine Line(absl::string_view text) {
  const absl::StatusOr<CommandLine> line = ParseCommandLine(Words(text));
  EXPECT_TRUE(line.ok()) << text << ": " << line.status();
  return line.ok() ? *line : CommandLine();
}

FusePolicy Fuse(absl::string_view text) { return Line(text).serve.fuse(); }

std::string ErrorOfAll(const std::vector<std::string>& words) {
  const absl::StatusOr<CommandLine> line = ParseCommandLine(words);
  EXPECT_TRUE(line.ok() || absl::IsInvalidArgument(line.status())) << line.status();
  return std::string(line.status().message());
}
std::string ErrorOf(absl::string_view text) { return ErrorOfAll(Words(text)); }

TEST(CommandLine, Defaults) {
  const CommandLine line = Line("");
  EXPECT_EQ(line.action, Action::kServe);
  EXPECT_EQ(line.socket_path, "/run/vfs.sock");
  EXPECT_FALSE(line.fd.has_value() || line.rlimit_nofile.has_value());
  EXPECT_TRUE(line.warnings.empty());
  const server::ServeOptions& serve = line.serve;
  EXPECT_EQ(serve.root(), "/srv");
  EXPECT_EQ(serve.ready_fd(), -1);
  EXPECT_EQ(serve.sandbox(), server::SANDBOX_NAMESPACE);
  EXPECT_EQ(serve.seccomp(), server::SECCOMP_KILL);
  EXPECT_EQ(serve.log_level(), server::LOG_LEVEL_INFO);
  EXPECT_EQ(serve.donate_fds(), server::DONATE_NEVER);
  EXPECT_TRUE(serve.pid_namespace() && serve.follow_host_mounts());
  EXPECT_FALSE(serve.readonly() || serve.syslog() || serve.has_thread_pool_size());
  EXPECT_EQ(serve.tag(), "");
  EXPECT_EQ(serve.modcaps(), "");
  const FusePolicy& fuse = serve.fuse();
  EXPECT_EQ(fuse.cache(), server::CACHE_AUTO);
  EXPECT_EQ(fuse.inode_file_handles(), server::INODE_FILE_HANDLES_NEVER);
  EXPECT_EQ(fuse.creds(), server::CREDS_SWITCH);
  EXPECT_EQ(fuse.migration_mode(), server::MIGRATION_FIND_PATHS);
  EXPECT_EQ(fuse.migration_on_error(), server::MIGRATION_ABORT);
  EXPECT_TRUE(fuse.make_devices() && fuse.file_capabilities());
  EXPECT_FALSE(fuse.xattr() || fuse.posix_acl() || fuse.writeback() || fuse.allow_mmap() ||
               fuse.allow_direct_io() || fuse.no_readdirplus() || fuse.killpriv_v2() ||
               fuse.security_label() || fuse.no_announce_submounts() || fuse.preserve_noatime() ||
               fuse.posix_locks() || fuse.flock_locks());
}

TEST(CommandLine, FlagsThatAreOnOrOff) {
  using Get = bool (*)(const CommandLine&);
  const struct {
    const char* text;
    Get get;
  } kRows[] = {
      {"--xattr", [](const CommandLine& l) { return l.serve.fuse().xattr(); }},
      {"--posix-acl", [](const CommandLine& l) { return l.serve.fuse().posix_acl(); }},
      {"--readonly", [](const CommandLine& l) { return l.serve.readonly(); }},
      {"--no-announce-submounts",
       [](const CommandLine& l) { return l.serve.fuse().no_announce_submounts(); }},
      {"--allow-mmap", [](const CommandLine& l) { return l.serve.fuse().allow_mmap(); }},
      {"--no-readdirplus", [](const CommandLine& l) { return l.serve.fuse().no_readdirplus(); }},
      {"--writeback", [](const CommandLine& l) { return l.serve.fuse().writeback(); }},
      {"--allow-direct-io", [](const CommandLine& l) { return l.serve.fuse().allow_direct_io(); }},
      {"--syslog", [](const CommandLine& l) { return l.serve.syslog(); }},
      {"--killpriv-v2", [](const CommandLine& l) { return l.serve.fuse().killpriv_v2(); }},
      {"--security-label", [](const CommandLine& l) { return l.serve.fuse().security_label(); }},
      {"--preserve-noatime",
       [](const CommandLine& l) { return l.serve.fuse().preserve_noatime(); }},
      {"--migration-verify-handles",
       [](const CommandLine& l) { return l.serve.fuse().migration_verify_handles(); }},
      {"--migration-confirm-paths",
       [](const CommandLine& l) { return l.serve.fuse().migration_confirm_paths(); }},
  };
  for (const auto& row : kRows) {
    EXPECT_TRUE(row.get(Line(row.text))) << row.text;
    EXPECT_TRUE(row.get(Line(absl::StrCat(row.text, " ", row.text)))) << "twice is no error";
    EXPECT_FALSE(row.get(Line(""))) << row.text;
    EXPECT_EQ(ErrorOf(absl::StrCat(row.text, "=true")),
              absl::StrCat(row.text, "=true: takes no value"));
  }
}

TEST(CommandLine, PairsOfWhichTheLastCounts) {
  EXPECT_TRUE(Fuse("--announce-submounts --no-announce-submounts").no_announce_submounts());
  EXPECT_FALSE(Fuse("--no-announce-submounts --announce-submounts").no_announce_submounts());
  EXPECT_TRUE(Fuse("--no-killpriv-v2 --killpriv-v2").killpriv_v2());
  EXPECT_FALSE(Fuse("--killpriv-v2 --no-killpriv-v2").killpriv_v2());
}

TEST(CommandLine, ValuesInTheSameWordOrTheNext) {
  for (const char* const equals : {"=", " "}) {
    const auto with = [&](absl::string_view option, absl::string_view value) {
      return Line(absl::StrCat(option, equals, value));
    };
    EXPECT_EQ(with("--tag", "myfs").serve.tag(), "myfs");
    EXPECT_EQ(with("--socket-path", "/run/b").socket_path, "/run/b");
    EXPECT_EQ(with("--shared-dir", "rel/dir").serve.root(), "rel/dir");
    EXPECT_EQ(with("--socket-group", "kvm").serve.socket_group(), "kvm");
    EXPECT_EQ(with("--thread-pool-size", "0").serve.thread_pool_size(), 0u);
    EXPECT_EQ(with("--thread-pool-size", "64").serve.thread_pool_size(), 64u);
    EXPECT_EQ(with("--xattrmap", ":map::user.vm.:").serve.fuse().xattrmap(), ":map::user.vm.:");
    EXPECT_EQ(with("--modcaps", "+sys_admin:-chown").serve.modcaps(), "+sys_admin:-chown");
    EXPECT_EQ(with("--rlimit-nofile", "0").rlimit_nofile, 0u);
    EXPECT_EQ(with("--rlimit-nofile", "4096").rlimit_nofile, 4096u);
    EXPECT_EQ(with("--seccomp", "log").serve.seccomp(), server::SECCOMP_LOG);
    EXPECT_EQ(with("--uid-map", ":0:1:2:").serve.uid_map(0), ":0:1:2:");
    EXPECT_EQ(with("--gid-map", ":0:1:2:").serve.gid_map(0), ":0:1:2:");
    EXPECT_EQ(with("--translate-uid", "map:0:1:2").serve.fuse().translate_uid(0), "map:0:1:2");
    EXPECT_EQ(with("--translate-gid", "map:0:1:2").serve.fuse().translate_gid(0), "map:0:1:2");
    EXPECT_TRUE(with("--thread-pool-size", "0").serve.has_thread_pool_size());
  }
}

TEST(CommandLine, Choices) {
  for (const auto& [text, cache] :
       {std::pair("auto", server::CACHE_AUTO), std::pair("always", server::CACHE_ALWAYS),
        std::pair("never", server::CACHE_NEVER), std::pair("metadata", server::CACHE_METADATA),
        std::pair("ALWAYS", server::CACHE_ALWAYS), std::pair("Never", server::CACHE_NEVER)}) {
    EXPECT_EQ(Fuse(absl::StrCat("--cache=", text)).cache(), cache) << text;
  }
  for (const auto& [text, sandbox] :
       {std::pair("namespace", server::SANDBOX_NAMESPACE),
        std::pair("chroot", server::SANDBOX_CHROOT), std::pair("none", server::SANDBOX_NONE),
        std::pair("CHROOT", server::SANDBOX_CHROOT)}) {
    const CommandLine line = Line(absl::StrCat("--sandbox=", text));
    EXPECT_EQ(line.serve.sandbox(), sandbox) << text;
    EXPECT_EQ(line.serve.pid_namespace(), sandbox == server::SANDBOX_NAMESPACE);
  }
  for (const auto& [text, action] :
       {std::pair("none", server::SECCOMP_NONE), std::pair("kill", server::SECCOMP_KILL),
        std::pair("log", server::SECCOMP_LOG), std::pair("trap", server::SECCOMP_TRAP)}) {
    EXPECT_EQ(Line(absl::StrCat("--seccomp ", text)).serve.seccomp(), action) << text;
  }
  for (const auto& [text, level] :
       {std::pair("error", server::LOG_LEVEL_ERROR), std::pair("warn", server::LOG_LEVEL_WARN),
        std::pair("info", server::LOG_LEVEL_INFO), std::pair("debug", server::LOG_LEVEL_DEBUG),
        std::pair("trace", server::LOG_LEVEL_TRACE), std::pair("off", server::LOG_LEVEL_OFF),
        std::pair("Debug", server::LOG_LEVEL_DEBUG)}) {
    EXPECT_EQ(Line(absl::StrCat("--log-level=", text)).serve.log_level(), level) << text;
  }
  for (const auto& [text, mode] : {std::pair("never", server::INODE_FILE_HANDLES_NEVER),
                                   std::pair("prefer", server::INODE_FILE_HANDLES_PREFER),
                                   std::pair("fallback", server::INODE_FILE_HANDLES_PREFER),
                                   std::pair("mandatory", server::INODE_FILE_HANDLES_MANDATORY)}) {
    EXPECT_EQ(Fuse(absl::StrCat("--inode-file-handles=", text)).inode_file_handles(), mode) << text;
  }
  EXPECT_EQ(Fuse("--migration-mode file-handles").migration_mode(), server::MIGRATION_FILE_HANDLES);
  EXPECT_EQ(Fuse("--migration-mode find-paths").migration_mode(), server::MIGRATION_FIND_PATHS);
  EXPECT_EQ(Fuse("--migration-on-error guest-error").migration_on_error(),
            server::MIGRATION_GUEST_ERROR);
  EXPECT_EQ(Fuse("--migration-on-error abort").migration_on_error(), server::MIGRATION_ABORT);
}

TEST(CommandLine, TheLastOneCountsAndListsAddUp) {
  EXPECT_EQ(Fuse("--cache=always --cache never").cache(), server::CACHE_NEVER);
  EXPECT_EQ(Line("--socket-path=/run/a --socket-path=/run/b").socket_path, "/run/b");
  EXPECT_EQ(Fuse("--translate-uid=map:0:1:1 --translate-uid map,5,6,1").translate_uid_size(), 2);
  EXPECT_EQ(Line("--uid-map=:0:1:1: --uid-map=/5/6/1/").serve.uid_map_size(), 2);
}

TEST(CommandLine, TheOlderNames) {
  const std::vector<std::string> old = {"--shared-dir=/srv", "--socket", "/run/old"};
  const absl::StatusOr<CommandLine> line = ParseCommandLine(old);
  ASSERT_TRUE(line.ok());
  EXPECT_EQ(line->socket_path, "/run/old");
  EXPECT_EQ(line->warnings, std::vector<std::string>{"--socket is deprecated: use --socket-path"});
  EXPECT_EQ(Line("--socket=/run/old").socket_path, "/run/vfs.sock") << "the newer name counts";
  EXPECT_EQ(Line("-f").warnings[0], "-f is deprecated and has no effect");
  EXPECT_EQ(Line("-d").warnings[0], "-d is deprecated: use --log-level=debug");
  EXPECT_EQ(Line("-d --log-level=error").serve.log_level(), server::LOG_LEVEL_DEBUG);
  EXPECT_EQ(Line("-df").warnings.size(), 2u);
  EXPECT_EQ(Line("--inode-file-handles=fallback").warnings[0],
            "--inode-file-handles=fallback is deprecated: use --inode-file-handles=prefer");
  EXPECT_TRUE(Line("--inode-file-handles=fallback --inode-file-handles=never").warnings.empty());
}

TEST(CommandLine, TheListOfO) {
  for (const char* const form : {"-o ", "-o", "-o="}) {
    const auto with = [&](absl::string_view list) { return Line(absl::StrCat(form, list)); };
    EXPECT_EQ(with("xattrmap=:map::user.vm.:").serve.fuse().xattrmap(), ":map::user.vm.:");
    EXPECT_EQ(with("cache=auto").serve.fuse().cache(), server::CACHE_AUTO);
    EXPECT_EQ(with("cache=always").serve.fuse().cache(), server::CACHE_ALWAYS);
    EXPECT_EQ(with("cache=none").serve.fuse().cache(), server::CACHE_NEVER);
    EXPECT_EQ(with("cache=metadata").serve.fuse().cache(), server::CACHE_METADATA);
    EXPECT_EQ(with("loglevel=debug").serve.log_level(), server::LOG_LEVEL_DEBUG);
    EXPECT_EQ(with("loglevel=info").serve.log_level(), server::LOG_LEVEL_INFO);
    EXPECT_EQ(with("loglevel=warn").serve.log_level(), server::LOG_LEVEL_WARN);
    EXPECT_EQ(with("loglevel=err").serve.log_level(), server::LOG_LEVEL_ERROR);
    EXPECT_EQ(with("sandbox=namespace").serve.sandbox(), server::SANDBOX_NAMESPACE);
    EXPECT_EQ(with("sandbox=chroot").serve.sandbox(), server::SANDBOX_CHROOT);
    EXPECT_EQ(with("source=/other").serve.root(), "/other") << "counts more than --shared-dir";
    EXPECT_EQ(with("modcaps=+sys_admin:-chown").serve.modcaps(), "+sys_admin:-chown");
    EXPECT_TRUE(with("xattr").serve.fuse().xattr());
    EXPECT_TRUE(with("no_readdirplus").serve.fuse().no_readdirplus());
    EXPECT_TRUE(with("writeback").serve.fuse().writeback());
    EXPECT_TRUE(with("allow_direct_io").serve.fuse().allow_direct_io());
    EXPECT_TRUE(with("killpriv_v2").serve.fuse().killpriv_v2());
    EXPECT_TRUE(with("posix_acl").serve.fuse().posix_acl());
    EXPECT_TRUE(with("security_label").serve.fuse().security_label());
    EXPECT_EQ(with("no_posix_lock,no_flock").warnings.size(), 1u);
    EXPECT_EQ(with("xattr,writeback,cache=none").serve.fuse().cache(), server::CACHE_NEVER);
  }
}

TEST(CommandLine, OCountsMoreThanOptionsWhereverItStands) {
  EXPECT_FALSE(Fuse("-o no_xattr --xattr").xattr());
  EXPECT_FALSE(Fuse("--no-readdirplus -o readdirplus").no_readdirplus());
  EXPECT_FALSE(Fuse("-o no_writeback --writeback").writeback());
  EXPECT_FALSE(Fuse("-o no_allow_direct_io --allow-direct-io").allow_direct_io());
  EXPECT_FALSE(Fuse("-o no_killpriv_v2 --killpriv-v2").killpriv_v2());
  EXPECT_FALSE(Fuse("-o no_posix_acl --posix-acl").posix_acl());
  EXPECT_FALSE(Fuse("-o no_security_label --security-label").security_label());
  EXPECT_TRUE(Fuse("--no-announce-submounts -o announce_submounts").no_announce_submounts())
      << "what has no negative form takes nothing back";
  EXPECT_EQ(Fuse("-o cache=none -o cache=always --cache=auto").cache(), server::CACHE_ALWAYS);
  EXPECT_EQ(Line("-o cache=none").warnings[0],
            "-o is deprecated: give its options by themselves, such as --cache=auto for -o "
            "cache=auto");
}

TEST(CommandLine, ODoesNotTakeEverything) {
  EXPECT_EQ(ErrorOf("-o cache=never"),
            "-o cache=never: is not one of auto, always, none, metadata");
  EXPECT_EQ(ErrorOf("-o cache=Auto"), "-o cache=Auto: is not one of auto, always, none, metadata");
  EXPECT_EQ(ErrorOf("-o sandbox=none"), "-o sandbox=none: is not one of namespace, chroot");
  EXPECT_EQ(ErrorOf("-o loglevel=trace"),
            "-o loglevel=trace: is not one of debug, info, warn, err");
  EXPECT_EQ(ErrorOf("-o loglevel=off"), "-o loglevel=off: is not one of debug, info, warn, err");
  EXPECT_EQ(ErrorOf("-o xattrmap=:ok:"),
            "-o xattrmap=:ok:: rule 1: the scope \"\" does not end with ':'");
  for (const char* const unknown :
       {"no_announce_submounts", "timeout=1", "xattr=1", "cache", "flock", "", "posix_lock"}) {
    EXPECT_EQ(ErrorOfAll(Words(absl::StrCat("-o xattr,", unknown))),
              absl::StrCat("-o ", unknown, ": there is no such option"));
  }
}

TEST(CommandLine, WrongValues) {
  const struct {
    const char* text;
    const char* error;
  } kRows[] = {
      {"--cache=none", "--cache=none: is not one of never, metadata, auto, always"},
      {"--cache=", "--cache=: is not one of never, metadata, auto, always"},
      {"--sandbox=jail", "--sandbox=jail: is not one of namespace, chroot, none"},
      {"--seccomp=KILL", "--seccomp=KILL: is not one of kill, trap, log, none"},
      {"--log-level=err", "--log-level=err: is not one of error, warn, info, debug, trace, off"},
      {"--inode-file-handles=Never",
       "--inode-file-handles=Never: is not one of never, prefer, mandatory"},
      {"--inode-file-handles prefer", "--inode-file-handles needs a value after \"=\", MODE"},
      {"--inode-file-handles", "--inode-file-handles needs a value after \"=\", MODE"},
      {"--migration-mode=paths", "--migration-mode=paths: is not one of find-paths, file-handles"},
      {"--migration-on-error=ignore",
       "--migration-on-error=ignore: is not one of abort, guest-error"},
      {"--tag=", "--tag=: has 0 bytes; a tag has 1 to 36"},
      {"--tag=0123456789012345678901234567890123456",
       "--tag=0123456789012345678901234567890123456: has 37 bytes; a tag has 1 to 36"},
      {"--fd=x", "--fd=x: is not a number from 0 to 2147483647"},
      {"--fd=-1", "--fd=-1: is not a number from 0 to 2147483647"},
      {"--fd=2147483648", "--fd=2147483648: is not a number from 0 to 2147483647"},
      {"--thread-pool-size=-1", "--thread-pool-size=-1: is not a number from 0 to 4294967295"},
      {"--thread-pool-size=many", "--thread-pool-size=many: is not a number from 0 to 4294967295"},
      {"--rlimit-nofile=1k", "--rlimit-nofile=1k: is not a number from 0 to 18446744073709551615"},
      {"--xattrmap=:prefix:all::u.:",
       "--xattrmap=:prefix:all::u.:: no rule decides about all other names of the host; end with "
       ":bad:all::: or :ok:all:::"},
      {"--xattrmap=", "--xattrmap=: there is no rule"},
      {"--uid-map=0:0:1",
       "--uid-map=0:0:1: range \"0:0:1\": does not begin and end with one delimiter, as in "
       ":0:100000:65536:"},
      {"--gid-map=:0:0:",
       "--gid-map=:0:0:: range \":0:0:\": has 2 numbers, not 3 (inside, outside, count)"},
      {"--translate-uid=swap:0:1:2",
       "--translate-uid=swap:0:1:2: rule \"swap:0:1:2\": type \"swap\" is not one of guest, host, "
       "squash-guest, squash-host, forbid-guest, map"},
      {"--translate-gid=map:0:1",
       "--translate-gid=map:0:1: rule \"map:0:1\": map takes 3 numbers (guest:host:count), not 2"},
      {"--cache", "--cache needs a value, POLICY"},
      {"--modcaps -chown", "--modcaps needs a value, LIST"},
      {"--cache --xattr", "--cache needs a value, POLICY"},
      {"-o", "-o needs a value, OPTIONS"},
      {"--colour=blue", "there is no option --colour"},
      {"--shared_dir=/srv", "there is no option --shared_dir"},
      {"-x", "there is no option -x"},
      {"-dx", "there is no option -x"},
      {"directory", "argument \"directory\" is no option"},
      {"-", "argument \"-\" is no option"},
      {"--", "argument \"--\" is no option"},
  };
  for (const auto& row : kRows) EXPECT_EQ(ErrorOf(row.text), row.error);
}

TEST(CommandLine, WhatDoesNotGoTogether) {
  EXPECT_EQ(ErrorOf("--fd=3"), "--fd cannot be used with --socket-path or --socket");
  EXPECT_EQ(ErrorOfAll({"--shared-dir=/srv", "--fd=3", "--socket=/run/s"}),
            "--fd cannot be used with --socket-path or --socket");
  EXPECT_EQ(ErrorOfAll({"--shared-dir=/srv", "--fd=3", "--socket-group=kvm"}),
            "--socket-group cannot be used with --fd: its socket has its group already");
  EXPECT_EQ(ErrorOfAll({"--print-capabilities", "--socket-group=kvm"}),
            "--socket-group cannot be used with --print-capabilities");
  EXPECT_EQ(ErrorOf("--posix-acl --translate-uid=map:0:1:1"),
            "--posix-acl cannot be used with --translate-uid or --translate-gid: the ids in an ACL "
            "are not translated");
  EXPECT_EQ(ErrorOf("-o posix_acl --translate-gid=map:0:1:1"),
            "--posix-acl cannot be used with --translate-uid or --translate-gid: the ids in an ACL "
            "are not translated");
  EXPECT_EQ(ErrorOfAll({"--socket-path=/run/s"}),
            "--shared-dir is missing: the directory to share");
}

TEST(CommandLine, WithODirectoryAndSocketMayBeMissing) {
  const absl::StatusOr<CommandLine> line = ParseCommandLine({"-o", "source=/srv", "--fd=3"});
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->serve.root(), "/srv");
  EXPECT_EQ(line->fd, 3);
  const absl::StatusOr<CommandLine> neither = ParseCommandLine({"-o", "xattr"});
  ASSERT_TRUE(neither.ok()) << "what is missing is seen when it starts";
  EXPECT_EQ(neither->serve.root(), "");
  EXPECT_FALSE(neither->socket_path.has_value());
}

TEST(CommandLine, WhatOnlyPrints) {
  EXPECT_EQ(ParseCommandLine({})->action, Action::kHelpForNothing);
  EXPECT_EQ(ParseCommandLine({"--help"})->action, Action::kHelp);
  EXPECT_EQ(ParseCommandLine({"-h"})->action, Action::kHelp);
  EXPECT_EQ(ParseCommandLine({"--version"})->action, Action::kVersion);
  EXPECT_EQ(ParseCommandLine({"-V"})->action, Action::kVersion);
  EXPECT_EQ(ParseCommandLine({"--print-capabilities"})->action, Action::kPrintCapabilities);
  EXPECT_EQ(ParseCommandLine({"--cache=never", "-V", "--no-such-thing"})->action, Action::kVersion);
  EXPECT_EQ(ErrorOf("--print-capabilities --fd"), "--fd needs a value, N") << "errors come first";
}

TEST(Help, NamesEveryOption) {
  const std::string help = Help();
  for (const char* const option :
       {"--shared-dir <PATH>", "--inode-file-handles=<MODE>", "-o <OPTIONS>", "-h, --help",
        "-V, --version", "--migration-confirm-paths\n", "-d\n"}) {
    EXPECT_TRUE(absl::StrContains(help, option)) << option;
  }
  for (const absl::string_view line : absl::StrSplit(help, '\n')) {
    EXPECT_FALSE(absl::EndsWith(line, " ")) << "\"" << line << "\"";
  }
}

}  // namespace
}  // namespace gofer::virtiofsd
